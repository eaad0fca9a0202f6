"""Positions are read in the order of the flow, once for all who wait."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from services.pipeline.core.generation_states import Generation, GenerationState
from services.query.core.problems import ProblemCode, QueryProblem
from services.query.positions import Positions
from services.query.settings import QuerySettings
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.kafka.core.records import Partition


class Scripted:
    """A Kafka and a ClickHouse that note what they are asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.newer: list[Generation] = []

    async def generations(self) -> list[Generation]:
        """Say which generations there are."""
        return [Generation(0, GenerationState.OPEN, 1), *self.newer]

    async def partitions(self, topics: Any) -> list[Partition]:
        """Say that each topic has one partition."""
        if self.failure:
            raise self.failure
        return [(topic, 0) for topic in topics]

    async def ends(self, places: list[Partition]) -> dict[Partition, int]:
        """Say where topics end."""
        self.asked.append("ends of " + " ".join(topic for topic, _ in places))
        return dict.fromkeys(places, 3)

    async def committed(self, group: str) -> dict[Partition, int]:
        """Say what a group has committed."""
        self.asked.append(f"commits of {group}")
        return {("feedback-events", 0): 2}

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        """Say what is stored."""
        topics = statement.parameters["topics"]
        self.asked.append("stored of " + " ".join(topics))
        return [{"topic": topic, "partition": 0, "position": 1} for topic in topics]


class Connected(Positions):
    """Positions whose connection is the script."""

    def __init__(self, script: Scripted, **settings: Any) -> None:
        super().__init__(QuerySettings(**settings), script)  # type: ignore[arg-type]
        self._script = script

    async def _connected(self) -> Any:
        return self._script


async def test_each_position_is_read_after_those_that_it_bounds() -> None:
    """What the barrier and the watermark rest on."""
    script = Scripted()

    seen = await Connected(script).read()

    assert script.asked == [
        "ends of feedback-events",
        "commits of feedback-merger-v0",
        "ends of feedback-state",
        "stored of feedback-events feedback-state",
        "ends of feedback-events-dlq feedback-state-dlq",
        "stored of feedback-events-dlq feedback-state-dlq",
    ]
    assert (seen.logged, seen.merged, seen.states, seen.stored_states) == ({0: 3}, {0: 2}, {0: 3}, {0: 1})
    assert seen.letters == {"feedback-events-dlq": 3, "feedback-state-dlq": 3}


async def test_a_newer_generation_is_turned_to_and_asked_for_when_a_version_names_it() -> None:
    """A reader may hold an acknowledgement of topics that nobody here has heard of yet."""
    script = Scripted()
    positions = Connected(script)
    assert (await positions.read()).generation == 0
    script.newer = [Generation(2, GenerationState.OPEN, 1), Generation(3, GenerationState.NEW, 1)]

    assert await positions.generation(0) == 0
    assert await positions.generation(2) == 2
    assert await positions.generation(3) == 2
    assert (await positions.read()).generation == 2
    assert "commits of feedback-merger-v2" in script.asked


async def test_a_generation_that_the_environment_names_is_never_left() -> None:
    """Whoever set it moves by setting another."""
    script = Scripted()
    script.newer = [Generation(2, GenerationState.OPEN, 1)]
    positions = Connected(script, kafka_topic_generation=0)
    assert await positions.generation(2) == 0


async def test_who_asks_during_a_reading_gets_the_next_one() -> None:
    """One that began after the question; and one for all of them."""
    script = Scripted()
    positions = Connected(script)
    first = asyncio.create_task(positions.read())
    await asyncio.sleep(0)  # lets it begin

    later = await asyncio.gather(*(positions.read() for _ in range(30)))

    assert {one.at for one in later} == {later[0].at}
    assert (await first).at < later[0].at
    assert script.asked.count("ends of feedback-events") == 2


async def test_a_kafka_that_is_away_is_reported_to_every_caller() -> None:
    """And the next question tries again."""
    script = Scripted()
    positions = Connected(script)
    script.failure = KafkaConnectionError("away")

    with pytest.raises(QueryProblem) as caught:
        await positions.read()

    assert caught.value.code is ProblemCode.LOG_UNAVAILABLE
    assert positions.problem is not None
    script.failure = None
    assert (await positions.read()).logged == {0: 3}
    assert positions.problem is None


async def test_an_internal_error_ends_every_wait() -> None:
    """Everybody is told, also who would have been served by the next reading; then it works again."""
    script = Scripted()
    positions = Connected(script)
    script.failure = RuntimeError("a fault")

    found = await asyncio.gather(*(positions.read() for _ in range(3)), return_exceptions=True)

    assert {str(one) for one in found} == {"a fault"}
    script.failure = None
    assert (await positions.read()).logged == {0: 3}
    assert isinstance(positions._reading, asyncio.Task)
    await positions.stop()


async def test_waiting_readers_get_an_error_when_it_stops() -> None:
    """A stop is no reason to hang."""
    script = Scripted()
    positions = Connected(script)
    await positions.read()
    waiting = asyncio.create_task(positions.read())
    await asyncio.sleep(0)

    await positions.stop()

    with pytest.raises(QueryProblem) as caught:
        await waiting
    assert caught.value.code is ProblemCode.OVERLOADED


async def test_the_number_of_waiting_readers_is_limited() -> None:
    """More are told to come later, and nobody who was let in is, however often one reads."""
    positions = Connected(Scripted(), query_max_waiting=3)

    async def waits(tenant: str) -> None:
        with positions.waiter(tenant):
            for _ in range(3):
                await positions.read()

    found = await asyncio.gather(*(waits(f"t{n}") for n in range(5)), return_exceptions=True)

    assert [isinstance(one, QueryProblem) for one in found] == [False, False, False, True, True]
    with positions.waiter("t4"):
        assert (await positions.read()).logged == {0: 3}
