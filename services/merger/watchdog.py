"""Detects a merger that makes no progress: events wait, and the committed offset does not move.

Faust and aiokafka have both been seen to stop consuming, or to stay out of their group, without an error.  So
the offsets are read by a separate consumer, which shares nothing with the one that may hang.  While Kafka
itself cannot serve the merger, stalls are not counted; `services.runtime.kafka.core.outages` decides that.
"""

import asyncio
import faulthandler
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import Topology
from services.merger.metrics import LAG
from services.pipeline import survey
from services.pipeline.core.continuity import ContinuityFacts, misplaced, problems, refuse
from services.pipeline.core.progress import PartitionOffsets, PartitionProgress
from services.runtime.kafka.clients import connect, consumer
from services.runtime.kafka.core.outages import Needs
from services.runtime.kafka.outage_probe import (
    ANSWER_SECONDS,
    AWAY,
    PATIENCE_SECONDS,
    KeptClients,
    kafka_outage,
)
from services.runtime.settings import KafkaSettings

log = structlog.get_logger()

_CLIENT = "afterword-merger-watch"
_TURN_SECONDS = 3 * (ANSWER_SECONDS + PATIENCE_SECONDS)
"""The most that one check takes while Kafka does not answer."""


class Stalled(Exception):  # noqa: N818 (an event, not a fault)
    """Events wait, and no offset has moved for too long."""


class MergerWatchdog:
    """Reads the merger's offsets periodically, and reports when they make no progress."""

    def __init__(
        self,
        settings: KafkaSettings,
        topology: Topology,
        *,
        partitions: int,
        stall_seconds: float,
        facts: ContinuityFacts | None = None,
    ) -> None:
        """`facts`: of the start, so that a log which ends below a position is refused."""
        self._settings, self._topology = settings, topology
        self._partitions, self._stall_seconds, self._facts = partitions, stall_seconds, facts
        self._progress = PartitionProgress()
        self._outage: str | None = "Kafka was not checked yet"
        self._kept = KeptClients(self._connected)

    def progressed(self) -> None:
        """Count progress that no committed offset shows."""
        self._progress.touch(time.monotonic())

    def liveness(self) -> str | None:
        """Return the stall that only a restart can resolve, or None."""
        age, stalled = self._progress.stalled(time.monotonic())
        if age < self._stall_seconds:
            return None
        return f"no progress in partitions {stalled} for {age:.0f} s, although events wait"

    def readiness(self) -> str | None:
        """Return why Kafka cannot serve the merger, or None."""
        return self._outage

    async def run(self, assigned: Callable[[], set[int]]) -> None:
        """Watch the partitions that `assigned` returns, or all while there are none, until cancelled.

        Stalled after twice `stall_seconds` without progress; ContinuityError when the log was truncated, or
        Kafka was emptied or replaced.

        If the event loop hangs that long, faulthandler prints all stacks and ends the process.
        """
        limit = 2 * self._stall_seconds
        try:
            while self._progress.stalled(time.monotonic())[0] < limit:
                faulthandler.dump_traceback_later(limit + _TURN_SECONDS, exit=True)
                await self._look(assigned())
                await asyncio.sleep(min(5.0, self._stall_seconds / 10))
        finally:
            faulthandler.cancel_dump_traceback_later()
            await self._kept.close()
        raise Stalled(self.liveness())

    async def _look(self, assigned: set[int]) -> None:
        watched = sorted(assigned or range(self._partitions))
        self._note(await kafka_outage(self._settings, _CLIENT, self._needs(watched)))
        if self._outage is not None:
            await self._recognise()
            return
        try:
            offsets = await self._kept.ask(lambda asking: self._offsets(asking, watched))
            if self._facts and any(offset.end < offset.committed for offset in offsets.values()):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._check(self._facts)
        except AWAY as error:
            self._note(f"Kafka does not answer: {error!r}")
            return
        self._progress.see(offsets, time.monotonic())
        for partition in range(self._partitions):
            own = offsets[partition] if partition in assigned else PartitionOffsets(0, 0)
            LAG.labels(partition).set(own.end - own.committed)

    async def _recognise(self) -> None:
        """Raise ContinuityError for a Kafka that answers, but is another cluster or has other topics."""
        if self._facts is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await survey.as_deployed(self._settings, _CLIENT, self._facts)
        except AWAY:
            return
        refuse(problems(found))

    async def _check(self, facts: ContinuityFacts) -> None:
        """Read log and positions again, since a log seems to end below a position."""
        topology = self._topology
        positions = await survey.committed(
            self._settings, _CLIENT, topology.merger_group, topology.events.name, self._partitions
        )
        refuse([*misplaced(await survey.compared(self._settings, _CLIENT, facts, positions))])

    def _note(self, outage: str | None) -> None:
        if outage is not None:
            # No offset can move meanwhile, and a restart would not help.
            self.progressed()
            if self._outage is None:
                log.warning("server stopped answering", server="Kafka", reason=outage)
        self._outage = outage

    def _needs(self, partitions: Iterable[int]) -> Needs:
        topology, numbers = self._topology, list(partitions)
        group = topology.merger_group
        return Needs(
            reads=frozenset((topology.events.name, number) for number in numbers),
            writes=frozenset(
                [(topology.events_dlq.name, 0), *((topology.state.name, number) for number in numbers)]
            ),
            groups=(group,),
            transactions=tuple(topology.transactional_id(group, number) for number in numbers),
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AIOKafkaConsumer]:
        asking = consumer(
            self._settings,
            _CLIENT,
            group_id=self._topology.merger_group,
            isolation_level="read_committed",  # a foreign transaction that holds events back is no stall
        )
        try:
            await connect(asking)
            yield asking
        finally:
            await asking.stop()

    async def _offsets(self, asking: AIOKafkaConsumer, partitions: list[int]) -> dict[int, PartitionOffsets]:
        topic_partitions = [TopicPartition(self._topology.events.name, number) for number in partitions]
        # Positions before ends: other mergers continue meanwhile, and must not seem to be beyond an end.
        committed = {partition: await asking.committed(partition) for partition in topic_partitions}
        starts = await asking.beginning_offsets(topic_partitions)
        ends = await asking.end_offsets(topic_partitions)
        return {
            partition.partition: PartitionOffsets(
                starts[partition] if committed[partition] is None else committed[partition], ends[partition]
            )
            for partition in topic_partitions
        }
