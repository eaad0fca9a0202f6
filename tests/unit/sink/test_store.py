"""Storing a batch: what is written, in which order, and what happens when that fails."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError

from schemas.tables import FEEDBACK_STATE, SINK_POSITIONS
from services.runtime.clickhouse.insert import StoredPosition, UnavailableError
from services.runtime.kafka.core.log_mark import mark_of
from services.runtime.kafka.core.records import Partition
from services.sink.store import LONGEST_PAUSE_SECONDS, Outage, StoreWentBack, TooManyRefusedError
from tests.support.sink.doubles import NOW, Bench, FakeRecord, InMemoryDeadLetters, InMemoryWriter, state

POISONED = state("bad", 1, data={"comment": "poison"})


def offsets(bench: Bench) -> list[int]:
    """Return the offsets of the stored rows, in order."""
    return [orjson.loads(line)["revision"] for line in bench.writer.tables.get(FEEDBACK_STATE, [])]


async def test_rows_are_stored_before_their_positions() -> None:
    """A position is a promise about rows that are already there."""
    bench = Bench()

    await bench.store.store(bench.batch(state("r-1", 0), state("r-2", 1)))

    assert bench.writer.calls == [(FEEDBACK_STATE, 2), (SINK_POSITIONS, 1)]
    (line,) = bench.writer.tables[SINK_POSITIONS]
    assert orjson.loads(line) == {
        "route": "state",
        "topic": "feedback-state",
        "partition": 0,
        "position": 2,
        "appended_at": "2026-09-21T14:13:20.123+00:00",
        "mark": str(mark_of(state("r-2", 1))),
    }


async def test_a_batch_of_positions_alone_inserts_no_rows() -> None:
    """Transaction markers move positions and have no rows; the table stays as fresh as it was."""
    bench = Bench()
    await bench.store.store(bench.batch(state(offset=0)))
    empty = bench.batch()
    empty.add({}, {("feedback-state", 0): 2}, now=0.0)

    await bench.store.store(empty)

    assert bench.writer.calls == [(FEEDBACK_STATE, 1), (SINK_POSITIONS, 1), (SINK_POSITIONS, 1)]
    stored = await bench.writer.positions(["feedback-state"])
    assert stored["feedback-state", 0].position == 2
    assert stored["feedback-state", 0].newest_ms == 1_790_000_000_123


@pytest.mark.parametrize("place", [0, 1, 517, 999])
async def test_a_poisoned_row_is_found_and_everything_beside_it_is_stored(place: int) -> None:
    """Halving needs some 20 inserts for 1,000 rows, and the dead letter comes before the position."""
    bench = Bench()
    records = [state(f"r-{number}", number) for number in range(1_000)]
    records[place] = state("bad", place, data={"comment": "poison"})

    await bench.store.store(bench.batch(*records))

    assert offsets(bench) == [number for number in range(1_000) if number != place]
    ((topic, refused, at),) = bench.dead_letters.sent
    assert (topic, refused.record.offset, at) == ("feedback-state-dlq", place, NOW)
    assert "a poisoned row" in refused.detail
    assert bench.writer.calls[-1] == (SINK_POSITIONS, 1)
    assert len(bench.writer.calls) <= 24


async def test_multiple_poisoned_rows_are_all_found() -> None:
    """One search does not end with the first."""
    bench = Bench()
    poisoned = {3, 4, 9}
    records = [state(f"r-{n}", n, data={"c": "poison"} if n in poisoned else {}) for n in range(10)]

    await bench.store.store(bench.batch(*records))

    assert offsets(bench) == [0, 1, 2, 5, 6, 7, 8]
    assert {one.record.offset for _, one, _ in bench.dead_letters.sent} == poisoned


async def test_a_malformed_row_is_dead_lettered_without_asking_clickhouse() -> None:
    """What is no object cannot be sent at all."""
    bench = Bench()

    await bench.store.store(bench.batch(FakeRecord(b"[]", offset=0), state(offset=1)))

    assert offsets(bench) == [1]
    assert [one.detail for _, one, _ in bench.dead_letters.sent] == ["the value is not a JSON object"]


async def test_clickhouse_down_is_outlasted() -> None:
    """However long it takes, nothing is dead-lettered and nothing is skipped."""
    bench = Bench(writer=InMemoryWriter(down=True), up_after=50)

    await bench.store.store(bench.batch(state(offset=0)))

    assert offsets(bench) == [0]
    assert bench.dead_letters.sent == []
    assert bench.waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(bench.waits) == LONGEST_PAUSE_SECONDS == 2.0
    assert bench.store.clickhouse.since is None


async def test_readiness_reports_an_outage() -> None:
    """While it lasts, how long and why; nothing afterwards."""
    bench = Bench(writer=InMemoryWriter(down=True))
    told: list[str | None] = []

    async def sleep(seconds: float) -> None:
        bench.waits.append(seconds)
        told.append(bench.store.clickhouse.complaint())
        bench.writer.down = len(told) < 3

    bench.store.clickhouse.sleep = sleep
    await bench.store.store(bench.batch(state(offset=0)))

    assert told[0] == "ClickHouse has not done its work for 0 s: it is switched off"
    assert bench.store.clickhouse.complaint() is None


async def test_dead_letters_are_sent_again_until_kafka_has_them() -> None:
    """Positions wait for the dead letters as they wait for the rows."""
    bench = Bench(dead_letters=InMemoryDeadLetters(failures=[KafkaConnectionError("away")] * 3))

    await bench.store.store(bench.batch(state(offset=0), POISONED))

    assert len(bench.waits) == 3
    assert len(bench.dead_letters.sent) == 1
    assert bench.writer.calls[-1] == (SINK_POSITIONS, 1)


async def test_too_many_refused_rows_stop_the_route_before_any_is_dead_lettered() -> None:
    """Tables that do not fit the rows are mended by people, and the log waits for them."""
    bench = Bench()
    poisoned = [state(f"bad-{number}", number, data={"c": "poison"}) for number in range(150)]

    with pytest.raises(TooManyRefusedError, match=r"None was dead-lettered.*SINK_MAX_DEAD_LETTER_SHARE=1"):
        await bench.store.store(bench.batch(*poisoned))

    assert bench.dead_letters.sent == []
    assert SINK_POSITIONS not in bench.writer.tables


async def test_positions_that_fell_are_not_written_over() -> None:
    """A backup of ClickHouse was restored between two batches, and nothing failed."""
    bench = Bench()
    await bench.store.store(bench.batch(state("r-1", 0)))
    backup = {table: [*lines] for table, lines in bench.writer.tables.items()}
    await bench.store.store(bench.batch(state("r-2", 1)))
    bench.writer.tables = backup

    with pytest.raises(StoreWentBack, match="has position 1 of feedback-state/0, and had 2"):
        await bench.store.store(bench.batch(state("r-3", 2)))

    stored = await bench.writer.positions(["feedback-state"])
    assert stored["feedback-state", 0].position == 1


async def test_positions_that_are_gone_are_noticed_without_a_batch() -> None:
    """An empty ClickHouse was put in the old one's stead while nothing came."""
    bench = Bench()
    await bench.store.store(bench.batch(state("r-1", 0)))
    bench.writer.tables = {}

    with pytest.raises(StoreWentBack, match="has no position of feedback-state/0, and had 1"):
        await bench.store.check()


@dataclass
class RestoredBetween(InMemoryWriter):
    """ClickHouse dies once, right after it has confirmed rows, and comes back as it was before them."""

    is_over: bool = False

    async def positions(self, topics: Iterable[str]) -> dict[Partition, StoredPosition]:
        """Forget the rows, and fail; the second time, answer."""
        if not self.is_over and self.tables.pop(FEEDBACK_STATE, []):
            self.is_over = True
            raise UnavailableError("it died")
        return await super().positions(topics)


async def test_rows_that_were_lost_before_their_position_are_inserted_again() -> None:
    """The backup is of the moment before the rows, so no position shows that they are gone."""
    bench = Bench(writer=RestoredBetween())

    await bench.store.store(bench.batch(state("r-1", 0), state("r-2", 1)))

    assert offsets(bench) == [0, 1]
    assert bench.writer.calls == [(FEEDBACK_STATE, 2), (FEEDBACK_STATE, 2), (SINK_POSITIONS, 1)]


async def test_readiness_reports_a_slow_server_before_the_request_fails() -> None:
    """A ClickHouse that hangs is noticed long before SINK_INSERT_TIMEOUT_SECONDS."""
    now = 0.0
    outage = Outage("ClickHouse", "state", clock=lambda: now, sleep=asyncio.sleep)
    may_end = asyncio.Event()
    asking = asyncio.create_task(outage.outlast(may_end.wait))
    await asyncio.sleep(0)
    assert outage.complaint() is None
    now = 11.0
    assert outage.complaint() == "ClickHouse has not answered for 11 s"
    may_end.set()
    await asking
    assert outage.complaint() is None
