"""A few faults while writers continue: nothing is lost, wrong, duplicated or invented.

`make chaos` is the long form, with every kind of fault.  SEED sets what is struck here, too.
"""

import os
import random
from pathlib import Path

from chaos.campaign import Struck, run
from chaos.faults import short_plan
from chaos.stage import local_stage


class Printer:
    """Prints what pytest shows when the test fails."""

    def say(self, text: str) -> None:
        """Print it."""
        print(text)  # noqa: T201 (what the reader of a failure needs)

    def struck(self, one: Struck) -> None:
        """Print it."""
        print(one)  # noqa: T201


async def test_what_was_acknowledged_is_there_after_a_few_faults(tmp_path: Path) -> None:
    """A kill, a stopped and woken process, and others by chance; the judge knows the rest."""
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    Printer().say(f"SEED={seed}")
    async with local_stage(tmp_path) as one:
        outcome = await run(one, short_plan(seed), seed, Printer())

    assert outcome.verdict is not None
    assert outcome.verdict.is_clean, f"SEED={seed}\n{outcome.verdict}"
    assert outcome.verdict.acknowledged == outcome.sums["acknowledged"] > 100
