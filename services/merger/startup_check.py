"""Checks whether the merger may start, and gathers the facts that all partitions need."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.topics import Topology
from services.merger.context import Setup
from services.merger.directory import Directory
from services.merger.recovery import held_positions, is_stale
from services.merger.settings import MergerSettings
from services.merger.state_store import StateStore
from services.pipeline import survey
from services.pipeline.core.continuity import (
    LOST,
    ContinuityFacts,
    ContinuityProblem,
    HeldPosition,
    Recorded,
    problems,
    refuse,
)
from services.pipeline.core.generation_states import GenerationState
from services.pipeline.generations import generations, resolved
from services.pipeline.refusals import standing
from services.runtime.clickhouse.client import connect
from services.runtime.retry import delays, retry

log = structlog.get_logger()

_CLIENT = "afterword-merger-preflight"
_CLICKHOUSE_SECONDS = 5.0
_SET_FOR_THE_TOPIC = 1
"""Kafka's code for a topic's own setting; a broker's default retention does not concern a compacted topic."""


@dataclass(frozen=True)
class Retention:
    """For how many milliseconds topics keep records; None is without limit."""

    events_ms: int | None
    letters_ms: int | None
    tombstones_ms: int
    idle_ms: int | None = None
    """How long a state is kept without an event.  Kafka itself deletes no state."""

    @property
    def longest_ms(self) -> int | None:
        """After how long no event can be read again, from the log or from the dead letters."""
        if self.events_ms is None or self.letters_ms is None:
            return None
        return max(self.events_ms, self.letters_ms)

    @property
    def is_idle_safe(self) -> bool:
        """Return whether no older event or replay can reach a removed row, and restore part of it."""
        if self.idle_ms is None or self.events_ms is None or self.letters_ms is None:
            return False
        return self.idle_ms > self.events_ms + self.letters_ms


async def wait_until_ready(
    settings: MergerSettings, directory: Directory, waiting: Callable[[str], None]
) -> Setup:
    """Return the context of all partitions once Kafka answers; ContinuityError if nothing may start.

    `waiting` is called with the reason at each failed attempt.
    """

    async def attempt() -> Setup:
        current = await resolved(settings, _CLIENT)
        directory.switch_to(current.kafka_topic_generation)
        return await prepare(current, directory)

    return await retry(
        attempt,
        (KafkaError, OSError, TimeoutError),
        delays(longest=2.0),
        lambda error: waiting(f"Kafka at {settings.kafka_bootstrap_servers} does not answer: {error!r}"),
    )


async def prepare(settings: MergerSettings, directory: Directory) -> Setup:
    """Return the context of all partitions; ContinuityError when the positions do not fit the log."""
    topology = Topology(settings.kafka_topic_generation)
    pair = (topology.events.name, topology.state.name)
    async with survey.admin(settings, _CLIENT) as admin:
        cluster = await survey.cluster_id(admin)
        counts = await survey.partition_counts(admin, pair)
        kept = await retention(admin, topology)
        standings = [generation.standing for generation in await generations(admin, topology.generation)]
    current = Recorded(topology.generation, cluster, counts.get(topology.events.name, 0))
    # Positions first: other mergers continue meanwhile, and must not seem to be beyond an older end.
    positions = await _committed(settings, topology, current.partitions)
    record, refused, has_rows = await _recorded(settings, directory, current)
    log_now = await survey.log_ranges(settings, _CLIENT, counts)
    is_empty = all(log.end == 0 for (topic, _), log in log_now.items() if topic == topology.state.name)
    facts = ContinuityFacts(
        service="merger",
        generation=topology.generation,
        cluster_id=cluster,
        recorded=record,
        paired=pair,
        log=log_now,
        positions=positions,
        compacted=frozenset({topology.state.name}),
        refused=[one for one in refused if one.position and one.position.topic in pair],
        is_filled=GenerationState.NEW not in standings and not (is_empty and has_rows),
    )
    facts = await survey.with_marks(settings, _CLIENT, facts)
    refuse(problems(facts))
    facts = replace(facts, refused=())
    setup = Setup(
        settings=settings,
        topology=topology,
        directory=directory,
        facts=facts,
        tombstone_ms=kept.tombstones_ms,
    )
    held = await asyncio.to_thread(_local_positions, setup, current)
    refuse(problems(await survey.with_marks(settings, _CLIENT, replace(facts, positions=held))))
    directory.record(current)
    return setup


async def _committed(settings: MergerSettings, topology: Topology, count: int) -> list[HeldPosition]:
    if not count:
        return []
    return await survey.committed(settings, _CLIENT, topology.merger_group, topology.events.name, count)


async def _recorded(
    settings: MergerSettings, directory: Directory, current: Recorded
) -> tuple[Recorded | None, list[ContinuityProblem], bool]:
    """Return the record of the generation, the refusals in it, and whether there are rows of an older one.

    The record is that of `afterword migrate`, or that of this directory while ClickHouse is unreachable.
    """
    held = [one for one in directory.refused() if one.kind in LOST]
    try:
        client = await connect(settings, database="default", timeout_seconds=_CLICKHOUSE_SECONDS)
        try:
            records = await survey.recorded(client, settings.clickhouse_database)
            held += await standing(client, settings.clickhouse_database, current.generation)
            is_first = all(one.generation >= current.generation for one in records)
            has_rows = not is_first and await survey.has_rows(
                client, settings.clickhouse_database, survey.EVERY_TABLE[:1]
            )
        finally:
            await client.close()
    except (ClickHouseError, OSError, TimeoutError) as error:
        own = directory.recorded()
        log.warning("cluster id not read from ClickHouse", error=str(error), instead=own)
        return own or current, held, False
    return next((one for one in records if one.generation == current.generation), None), held, has_rows


def _local_positions(setup: Setup, current: Recorded) -> list[HeldPosition]:
    """Delete copies of another cluster, and return the positions of the remaining ones."""
    directory, facts = setup.directory, setup.facts
    own = directory.recorded()
    if own is not None and own.cluster_id != current.cluster_id:
        log.warning("local copies are of another cluster, reading them back", cluster=own.cluster_id)
        directory.forget()
    held: list[HeldPosition] = []
    for partition, path in directory.stores().items():
        if (events := facts.log.get((setup.topology.events.name, partition))) is not None:
            with closing(StateStore(path, setup.owner(partition))) as store:
                held += [] if is_stale(store, setup) else held_positions(setup, partition, store, events)
    return held


async def retention(admin: AIOKafkaAdminClient, topology: Topology) -> Retention:
    """Return the current retention of the topics; for a missing topic, the one it would be created with."""
    topics = (topology.events, topology.events_dlq, topology.state)
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    configured = {topic.name: topic.config() for topic in topics}
    own: dict[str, dict[str, str]] = {topic.name: {} for topic in topics}
    for response in await admin.describe_configs(asked):
        for _, _, _, name, entries in response.resources:
            configured[name] |= {entry[0]: entry[1] for entry in entries}
            own[name] = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_FOR_THE_TOPIC}
    events, letters, state = (configured[topic.name] for topic in topics)
    return Retention(
        events_ms=_limit(events["retention.ms"]),
        letters_ms=_limit(letters["retention.ms"]),
        tombstones_ms=int(state["delete.retention.ms"]),
        idle_ms=_limit(own[topology.state.name].get("retention.ms", "-1")),
    )


def _limit(milliseconds: str) -> int | None:
    return int(milliseconds) if int(milliseconds) >= 0 else None
