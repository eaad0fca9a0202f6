"""One contract for writers, kept by the stand-in of the unit tests and by the real one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import orjson
import pytest

from schemas.tables import FEEDBACK_STATE, SINK_POSITIONS
from services.runtime.clickhouse.insert import (
    ClickHouseWriter,
    RowsRefusedError,
    RowWriter,
    StoredPosition,
    UnavailableError,
)
from services.runtime.settings import ClickHouseSettings
from services.sink.core.rows import position_line, state_line
from tests.support.clickhouse import tables
from tests.support.sink.doubles import InMemoryWriter, state

POISON = state_line(state("bad", 3, version="poison"), 0)


@dataclass
class Held:
    """A writer, what it has stored, and the same writer without its server."""

    writer: RowWriter
    revisions: Callable[[], Awaitable[list[int]]]
    severed: RowWriter


@pytest.fixture(params=["in memory", "ClickHouse"])
async def held(
    request: pytest.FixtureRequest, clickhouse_settings: ClickHouseSettings
) -> AsyncIterator[Held]:
    """Yield each kind of writer on empty tables."""
    if request.param == "in memory":
        writer = InMemoryWriter()

        async def remembered() -> list[int]:
            lines = writer.tables.get(FEEDBACK_STATE, [])
            return sorted({orjson.loads(line)["revision"] for line in lines})

        yield Held(writer, remembered, InMemoryWriter(down=True))
        return
    settings = clickhouse_settings
    await tables.create_tables(settings)
    real = ClickHouseWriter(settings, 30)
    severed = ClickHouseWriter(settings.replace(clickhouse_url="http://127.0.0.1:1"), 5)

    async def stored() -> list[int]:
        found = await tables.rows(settings, f"SELECT revision FROM {FEEDBACK_STATE} FINAL ORDER BY revision")
        return [revision for (revision,) in found]

    yield Held(real, stored, severed)
    await real.close()
    await severed.close()


def line(number: int) -> bytes:
    """Return a row with its own request."""
    return state_line(state(f"r-{number}", number), 0)


async def test_rows_are_there_when_the_insert_returns(held: Held) -> None:
    """Positions are stored right after, so nothing may come later."""
    await held.writer.insert(FEEDBACK_STATE, [line(0), line(1), line(2)])

    assert await held.revisions() == [0, 1, 2]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_refused_row_refuses_them_all(held: Held, place: int) -> None:
    """Halving relies on it: what was refused was not stored in part."""
    lines = [line(0), line(1)]
    lines.insert(place, POISON)

    with pytest.raises(RowsRefusedError, match=r"Code: \d+"):
        await held.writer.insert(FEEDBACK_STATE, lines)

    assert await held.revisions() == []


async def test_repeating_an_insert_changes_nothing(held: Held) -> None:
    """An answer that got lost is asked for again."""
    for _ in range(2):
        await held.writer.insert(FEEDBACK_STATE, [line(0), line(1)])

    assert await held.revisions() == [0, 1]


async def test_positions_never_fall(held: Held) -> None:
    """A late writer must not take back what another one has stored since."""
    for position, appended in ((5, 1_790_000_000_001), (9, 1_790_000_000_002), (7, 1_790_000_000_003)):
        row = position_line("state", "feedback-state", 2, position, appended)
        await held.writer.insert(SINK_POSITIONS, [row])
    other = position_line("state", "feedback-state-v2", 2, 1, 0)
    await held.writer.insert(SINK_POSITIONS, [other])

    found = await held.writer.positions(["feedback-state"])

    assert found == {("feedback-state", 2): StoredPosition(9, 1_790_000_000_002)}


async def test_no_positions_are_known_at_first(held: Held) -> None:
    """Then everything is read from the start."""
    assert await held.writer.positions(["feedback-state"]) == {}


async def test_a_server_that_is_away_is_nobodys_fault(held: Held) -> None:
    """Rows must not be dead-lettered for it, not even poisoned ones."""
    with pytest.raises(UnavailableError):
        await held.severed.insert(FEEDBACK_STATE, [POISON])
    with pytest.raises(UnavailableError):
        await held.severed.positions(["feedback-state"])
