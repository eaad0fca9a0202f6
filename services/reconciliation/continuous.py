"""Looks up every event of the log in ClickHouse, a few at a time, for ever.

It stays behind the positions that the sink has stored, so what is merely late is never called missing.  How
far it is, is stored in Kafka, as offsets of a consumer group without members: the next sink resumes there,
and looking twice does no harm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from schemas.identity import event_key
from schemas.tables import SINK_POSITIONS
from schemas.topics import Topic, Topology
from services.pipeline.survey import kept_since
from services.reconciliation import metrics
from services.reconciliation.core.events import Render, Suspect, expected_event, suspect
from services.reconciliation.core.missing_events import Ask, missing, quoted
from services.reconciliation.core.ranges import Ranges
from services.reconciliation.core.remedies import DiffKind, command
from services.reconciliation.core.schedule import Backlog, events_in, next_stretches
from services.runtime.kafka.clients import connect, consumer
from services.runtime.kafka.log_reader import OffsetRange, ReadRecords, read
from services.runtime.settings import KafkaSettings

log = structlog.get_logger()

_CLIENT = "afterword-reconciliation"
_FIRST_SECONDS, _LONGEST_SECONDS = 5.0, 60.0
"""The longest pause that is caught up on, so that there is no burst."""


@dataclass
class Reconciliation:
    """The walk through one generation of the log.  `render` is what the sink makes of a record."""

    settings: KafkaSettings
    render: Render
    events_a_second: float
    clock: Callable[[], float]
    """Seconds since 1970."""
    _since: float | None = None
    _took: float = 0.0
    """Seconds that ClickHouse took for an event, the last time."""

    async def step(self, ask: Ask) -> None:
        """Look for as many events as the time since the last step allows.

        KafkaError, or what `ask` raises, when a server does not answer; the next step begins where this did.
        """
        now = self.clock()
        seconds = _FIRST_SECONDS if self._since is None else min(_LONGEST_SECONDS, now - self._since)
        self._since = now
        topology = Topology(self.settings.kafka_topic_generation)
        stored = dict(map(tuple, await ask(_stored(topology.events))))
        if not stored:
            return
        places = [TopicPartition(topology.events.name, partition) for partition in stored]
        asking = consumer(self.settings, _CLIENT, group_id=topology.reconciliation_group)
        try:
            asking.assign(places)
            await connect(asking)
            behind = await _behind(asking, places, stored)
            budget = events_in(seconds, self.events_a_second, self._took)
            await self._look(ask, topology.events, behind, budget, asking)
        finally:
            await asking.stop()

    async def _look(
        self, ask: Ask, topic: Topic, behind: Sequence[Backlog], budget: int, consumer: AIOKafkaConsumer
    ) -> None:
        stretches = [OffsetRange(topic.name, *stretch) for stretch in next_stretches(behind, budget)]
        newest: dict[int, int] = {}
        count, took = 0, 0.0
        async for part in read(self.settings, _CLIENT, [topic], stretches):
            began = self.clock()
            await self._compare(ask, topic, part)
            count, took = count + len(part.records), took + self.clock() - began
            if part.records:
                newest[part.partition] = part.records[-1].timestamp
        self._took = took / count if count else 0.0
        if stretches:
            await consumer.commit(
                {
                    TopicPartition(topic.name, stretch.partition): OffsetAndMetadata(stretch.end, "")
                    for stretch in stretches
                }
            )
        self._measure_age(behind, {stretch.partition: stretch.end for stretch in stretches}, newest)

    def _measure_age(
        self, behind: Sequence[Backlog], reached: Mapping[int, int], newest: Mapping[int, int]
    ) -> None:
        left = [one.partition for one in behind if reached.get(one.partition, one.position) < one.stored]
        if not left:
            metrics.AGE_SECONDS.set(0)
        elif known := [newest[partition] for partition in left if partition in newest]:
            metrics.AGE_SECONDS.set(max(0.0, self.clock() - min(known) / 1000))

    async def _compare(self, ask: Ask, topic: Topic, part: ReadRecords) -> None:
        expected = [one for record in part.records if (one := self._expected(topic, record)) is not None]
        gone = await missing(ask, expected)
        if gone:
            kept_since_ms = await kept_since(self.settings, _CLIENT, topic.name, self.clock() * 1000)
            gone = [one for one in gone if one.timestamp >= kept_since_ms]
        metrics.ACKNOWLEDGED.inc(len(expected))
        metrics.STORED.inc(len(expected) - len(gone))
        metrics.MISSING.inc(len(gone))
        if gone:
            _complain(topic, part.partition, gone)

    def _expected(self, topic: Topic, record: Any) -> Suspect | None:
        line = self.render(record, topic.generation)
        return None if line is None else suspect(topic.name, record, expected_event(line))


def _stored(topic: Topic) -> str:
    return f"SELECT partition, position FROM {SINK_POSITIONS} FINAL WHERE topic = {quoted(topic.name)}"  # noqa: S608


async def _behind(
    consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], stored: dict[int, int]
) -> list[Backlog]:
    starts = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    return [
        Backlog(
            one.partition,
            max(starts[one], await consumer.committed(one) or 0),
            min(stored[one.partition], ends[one]),
        )
        for one in places
    ]


def _complain(topic: Topic, partition: int, gone: Sequence[Suspect]) -> None:
    tenants = {one.tenant for one in gone}
    log.error(
        "events missing",
        table="feedback_events",
        topic=topic.name,
        partition=partition,
        events=len(gone),
        offsets=Ranges(one.offset for one in gone).as_text(),
        first=event_key(gone[0].tenant, gone[0].request_id).decode(),
        mend=command(DiffKind.EVENT_MISSING, tenants),
    )
