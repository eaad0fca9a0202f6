"""The judge's fold against the slow oracle, over whatever Hypothesis invents."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, given

from chaos.judge.bodies import text_of
from chaos.judge.truth import Row, Truth
from tests.support.merger.records import ARecord, logs
from tests.support.oracles.merge import Oracle
from tests.support.oracles.merge import Truth as Slow

_EXPONENT = re.compile(rb"\de[-+]\d+\s*[,}\]]")
"""A number with an exponent; the groups of a UUID may end in a digit and an e, too, and are none."""
SMALL: Any = {"max_keys": 5, "max_bytes": 40}


def _shown(row: Row) -> Slow:
    if row.is_deleted:
        return Slow(row.version, deleted=True)
    shown = row.shown()
    first, last = (
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at or 0) for at in (shown.first, shown.last)
    )
    return Slow(
        shown.version,
        deleted=False,
        first_received_at=first,
        last_received_at=last,
        sources=list(shown.sources),
        data=json.loads(shown.data),
        request=json.loads(shown.request),
    )


@given(logs())
def test_the_judge_folds_as_the_oracle_does(log: list[ARecord]) -> None:
    """Two programs that share no code agree on every row and every dead letter."""
    # The judge measures a row by its own spelling of such numbers, which may be longer than what was sent.
    assume(not any(_EXPONENT.search(record.value or b"") for record in log))
    quick, slow = Truth(**SMALL), Oracle(**SMALL)
    for record in log:
        quick.read(record)
        slow.read(record)

    assert {key: _shown(row) for key, row in quick.rows.items()} == slow.rows
    assert [(*place, became.value) for place, became in quick.dead.items()] == slow.dead
    assert {key: text_of(row.data) for key, row in slow.rows.items() if not row.deleted} == {
        key: row.shown().data for key, row in quick.rows.items() if not row.is_deleted
    }
