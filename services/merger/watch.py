"""Notices a merger that makes no progress: events wait, and the committed offset stands still.

Faust and aiokafka have both been seen to stop consuming, or to stay out of their group, in silence.  So
the offsets are read by a consumer of its own, which shares nothing with the one that may be stuck.
"""

import asyncio
import faulthandler
import time
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.merger.metrics import LAG
from services.merger.progress import Place, Progress
from services.runtime import survey
from services.runtime.continuity import Facts, misplaced, refuse
from services.runtime.kafka import connect, consumer
from services.runtime.settings import KafkaSettings

log = structlog.get_logger()

_CLIENT = "afterword-merger-watch"


class Stalled(Exception):  # noqa: N818 (it says what happened)
    """Events wait, and nothing has moved for too long."""


class Watch:
    """Asks Kafka again and again how far the merger is, and says when it stands still."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        group: str,
        *,
        partitions: int,
        stall_seconds: float,
        facts: Facts | None = None,
    ) -> None:
        """`facts`: what the start found out, so that a log which ends below a position is refused."""
        self._settings, self._topic, self._group = settings, topic, group
        self._partitions, self._stall_seconds, self._facts = partitions, stall_seconds, facts
        self._progress = Progress()
        self._trouble: str | None = "Kafka was not asked yet"

    def progressed(self) -> None:
        """Count what no offset shows as progress."""
        self._progress.touch(time.monotonic())

    def liveness(self) -> str | None:
        """Return what is wrong if only a restart can help."""
        age, stalled = self._progress.stalled(time.monotonic())
        if age < self._stall_seconds:
            return None
        return f"no progress in partitions {stalled} for {age:.0f} s, though events wait"

    def readiness(self) -> str | None:
        """Return what is wrong if Kafka does not answer."""
        return self._trouble

    async def run(self, assigned: Callable[[], set[int]]) -> None:
        """Watch the partitions that `assigned` returns, or all while there are none, until cancelled.

        Stalled after twice the time that is allowed; ContinuityError when the log was cut short.

        Should the event loop hang for so long, a thread of the interpreter's own prints all stacks and ends
        the process.
        """
        limit = 2 * self._stall_seconds
        asking = consumer(
            self._settings,
            _CLIENT,
            group_id=self._group,
            isolation_level="read_committed",  # what a foreign transaction holds back is no fault of ours
        )
        try:
            await connect(asking)
            while self._progress.stalled(time.monotonic())[0] < limit:
                faulthandler.dump_traceback_later(limit, exit=True)
                await self._look(asking, assigned())
                await asyncio.sleep(min(5.0, self._stall_seconds / 10))
        finally:
            faulthandler.cancel_dump_traceback_later()
            await asking.stop()
        raise Stalled(self.liveness())

    async def _look(self, consumer: AIOKafkaConsumer, assigned: set[int]) -> None:
        watched = assigned or set(range(self._partitions))
        try:
            async with asyncio.timeout(self._stall_seconds):
                places = await self._places(consumer, sorted(watched))
                if self._facts and any(one.end < one.committed for one in places.values()):
                    await self._check(self._facts)
        except (KafkaError, TimeoutError) as error:
            # Nothing can move while Kafka is away, and nobody is to blame.
            self.progressed()
            self._trouble = f"Kafka does not answer: {error!r}"
            return
        self._trouble = None
        self._progress.see(places, time.monotonic())
        for partition in range(self._partitions):
            place = places[partition] if partition in assigned else Place(0, 0)
            LAG.labels(partition).set(place.end - place.committed)

    async def _check(self, facts: Facts) -> None:
        """Look again at a log that seems to end below a position."""
        positions = await survey.committed(
            self._settings, _CLIENT, self._group, self._topic, self._partitions
        )
        refuse([*misplaced(await survey.compared(self._settings, _CLIENT, facts, positions))])

    async def _places(self, consumer: AIOKafkaConsumer, partitions: list[int]) -> dict[int, Place]:
        topic_partitions = [TopicPartition(self._topic, number) for number in partitions]
        # Positions before ends: other mergers go on meanwhile, and must not seem to be beyond an end.
        committed = {one: await consumer.committed(one) for one in topic_partitions}
        starts = await consumer.beginning_offsets(topic_partitions)
        ends = await consumer.end_offsets(topic_partitions)
        return {
            one.partition: Place(starts[one] if committed[one] is None else committed[one], ends[one])
            for one in topic_partitions
        }
