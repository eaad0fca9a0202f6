"""A file of judged answers, sent by `afterword send`: one SQL statement gives each model's exact win rate."""

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from services.operations.demo.core.traffic import traffic
from tests.support.eventually import eventually
from tests.support.oracles.judged_answers import WIN_RATES, judged, write
from tests.support.stack.rows import ask, found, shows
from tests.support.stack.whole_stack import WholeStack

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_win_rates_are_exact(whole_stack: WholeStack, tmp_path: Path) -> None:
    """The second judge's values overwrote the first's, and the facts joined, in whatever order they came."""
    load = judged("judged", models=6, questions=80)
    path = write(load.events, tmp_path / "judged.ndjson.gz")

    sent = await whole_stack.call(
        *("send", str(path), "--url", whole_stack.ingest_url, "--state-dir", str(tmp_path))
    )

    assert sent.returncode == 0, sent.stderr
    assert f"{len(load.events):,} accepted, 0 rejected" in sent.stdout
    await shows(whole_stack.settings, "judged-", load.rows)
    rows = await ask(whole_stack.settings, WIN_RATES, prefix="judged-")
    assert {model: answers for model, _, answers in rows} == {
        model: answers for model, (_, answers) in load.win_rates.items()
    }
    for model, win_rate, _ in rows:
        assert win_rate == pytest.approx(float(load.win_rates[model][0]), abs=1e-9)


async def test_the_demo_reaches_the_tables(whole_stack: WholeStack) -> None:
    """Every call of generated traffic is accepted, and its requests become rows."""
    ran = await whole_stack.call(
        *("demo", "--url", whole_stack.ingest_url, "--rate", "1000", "--count", "500", "--seed", "5")
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "rejected" not in ran.stdout
    talked_about = {call.request_id for call in islice(traffic(5, NOW), 500)}

    async def check() -> bool:
        return (await found(whole_stack.settings, "demo-5-")).keys() == talked_about

    await eventually(check, within=60, every=0.3)
