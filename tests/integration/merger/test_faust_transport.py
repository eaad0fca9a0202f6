"""The agent on Faust's stream, on a real Kafka: what reaches the worker, and what happens when that fails."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import faust
import pytest
from aiokafka import AIOKafkaProducer

from services.merger.app import Merger
from services.merger.assignment import Worker
from services.runtime.kafka.clients import client_options
from services.runtime.kafka.raw_fetch import Fetched, in_pieces
from tests.support.eventually import eventually
from tests.support.merger.partitions import R1, Scene
from tests.support.merger.records import a_log, a_record, an_event

WITHIN = 30.0


class Recorder(Worker):
    """Takes note of what it is told to merge, and raises what it is told to raise."""

    def __init__(self, *errors: BaseException) -> None:
        self.batches: list[tuple[int, list[int]]] = []
        self.events: list[Any] = []
        self.released: list[int] = []
        self.opened: list[int] = []
        self.stuck: BaseException | None = None
        """What opening a partition raises."""
        self.may_open = asyncio.Event()
        """Opening a partition waits for this."""
        self.may_open.set()
        self._errors = list(errors)

    async def merge(self, number: int, records: Fetched | Sequence[Any]) -> None:
        """Take note."""
        offsets = [record.offset for piece in in_pieces(records, 1_000) for record in piece]
        self.batches.append((number, offsets))
        self.events.append(faust.current_event())
        if self._errors:
            raise self._errors.pop(0)

    async def open(self, number: int) -> None:
        """Take note."""
        self.opened.append(number)
        await self.may_open.wait()
        if self.stuck is not None:
            raise self.stuck

    async def release(self, numbers: Iterable[int]) -> None:
        """Take note."""
        self.released += numbers

    async def close(self) -> None:
        """Have nothing to close."""

    def readiness(self) -> str | None:
        """Wait for nothing."""

    def offsets(self) -> list[int]:
        """Return every offset of partition 0 that came."""
        return [offset for number, offsets in self.batches if number == 0 for offset in offsets]


class Ends:
    """Stands where a process would end."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, BaseException]] = []

    def __call__(self, doing: str, error: BaseException) -> NoReturn:
        """Take note, and return as no real one does: what comes next must not have happened yet."""
        self.seen.append((doing, error))
        return None  # type: ignore[misc]


@asynccontextmanager
async def running(scene: Scene, recorder: Recorder, ends: Ends) -> AsyncIterator[Merger]:
    """Run the Faust application."""
    merger = Merger(await scene.setup(), worker=recorder, end=ends)
    try:
        async with asyncio.timeout(WITHIN):
            await merger.app.start()
        yield merger
    finally:
        async with asyncio.timeout(WITHIN):
            await merger.app.stop()
        with warnings.catch_warnings():
            # A connection that is being made while its client closes is forgotten.
            warnings.simplefilter("ignore", ResourceWarning)
            del merger
            gc.collect()


async def test_the_agent_gets_whole_batches_from_fausts_stream(scene: Scene) -> None:
    """Each message of the stream is what one fetch brought, in order and without holes."""
    await scene.publish(a_log(*(an_event(n, request_id=R1) for n in range(50))))
    recorder, ends = Recorder(), Ends()
    async with running(scene, recorder, ends) as merger:
        await eventually(lambda: recorder.offsets() == list(range(50)), within=WITHIN)

        assert len(recorder.batches) < 10
        assert all(event.message.tp.partition == 0 for event in recorder.events)
        assert [agent.fun.__name__ for agent in merger.app.agents.values()] == ["merger"]
        await eventually(lambda: merger.readiness() is None, within=WITHIN)
        assert merger.assigned() == {0, 1, 2, 3}
    assert ends.seen == []


async def test_fausts_own_commit_commits_nothing(scene: Scene) -> None:
    """It goes by acknowledgements, which it gives for what failed, too."""
    await scene.publish(a_log(an_event(0, request_id=R1)))
    recorder = Recorder()
    async with running(scene, recorder, Ends()) as merger:
        await eventually(lambda: recorder.offsets() == [0], within=WITHIN)
        consumer: Any = merger.app.consumer
        await eventually(lambda: consumer._acked)

        assert await consumer.commit() is False
        assert not consumer._acked
    assert await scene.committed() is None


async def test_partitions_are_opened_as_they_are_assigned(scene: Scene) -> None:
    """Without waiting for an event, so that a merger which is ready merges the first one at once."""
    recorder, ends = Recorder(), Ends()
    recorder.may_open.clear()
    async with running(scene, recorder, ends) as merger:
        await eventually(lambda: sorted(recorder.opened) == [0, 1, 2, 3], within=WITHIN)
        assert merger.readiness() == "opening partitions"
        recorder.may_open.set()
        await eventually(lambda: merger.readiness() is None, within=WITHIN)

    assert ends.seen == []


async def test_a_partition_that_cannot_be_opened_ends_the_process(scene: Scene) -> None:
    """Nobody would wait for its events, were they never to come."""
    recorder, ends = Recorder(), Ends()
    recorder.stuck = ValueError("a bug")
    async with running(scene, recorder, ends):
        await eventually(lambda: ends.seen, within=WITHIN)

    assert ("opening partition 0", recorder.stuck) in ends.seen


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("a bug")])
async def test_an_exception_ends_the_process_before_anything_else(scene: Scene, error: BaseException) -> None:
    """Faust would acknowledge the batch, or restart the agent, and continue with the next."""
    await scene.publish(a_log(an_event(0, request_id=R1)))
    recorder, ends = Recorder(error), Ends()
    async with running(scene, recorder, ends):
        await eventually(lambda: ends.seen, within=WITHIN)

        assert ends.seen == [(f"merging {scene.topology.events.name}/0", error)]
        assert recorder.batches == [(0, [0])]


async def test_events_that_were_rolled_back_never_come(scene: Scene) -> None:
    """The merger sees what every other reader of the events sees."""
    record = a_record(0, an_event(0, request_id=R1))
    producer = AIOKafkaProducer(
        **client_options(scene.kafka, "tests"), transactional_id=f"rolls-back-{scene.home}"
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(scene.topology.events.name, record.value, record.key, partition=0)
    await producer.abort_transaction()
    await producer.stop()
    (kept,) = await scene.publish([record])
    recorder = Recorder()
    async with running(scene, recorder, Ends()):
        await eventually(recorder.offsets, within=WITHIN)

        assert kept.offset > 0
        assert recorder.offsets() == [kept.offset]


async def test_an_orderly_stop_is_no_fault(scene: Scene) -> None:
    """A batch that is cancelled because the process stops ends nothing."""
    ends = Ends()
    async with running(scene, Recorder(), ends) as merger:
        pass
    with pytest.raises(asyncio.CancelledError):
        async with merger._or_end("stopping"):
            raise asyncio.CancelledError
    assert ends.seen == []
