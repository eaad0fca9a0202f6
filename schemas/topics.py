"""The topics: their names, keys, settings, and who writes and reads them.

A topic's generation is the number in its name: `feedback-events` is 0, `feedback-events-v2` is 2.
Partitions are never added to a live topic (keys would move) and a topic is never recreated under
its name; both are a new generation, so that versions keep growing.
"""

from dataclasses import dataclass
from typing import NamedTuple

from schemas.limits import MIB

DEFAULT_PARTITIONS = 12
DAY_MS = 24 * 60 * 60 * 1000
EVENTS_RETENTION_MS = 30 * DAY_MS
DEAD_LETTERS_RETENTION_MS = 90 * DAY_MS
TOMBSTONE_RETENTION_MS = 7 * DAY_MS

ANY_TIMESTAMP = ("message.timestamp.after.max.ms", str(2**63 - 1))
"""By default Kafka refuses records from an hour ahead of its clock.

A row has the append time of an event, and the broker that appended it may have been ahead of the others.
"""

STATE_ROUTE, EVENTS_ROUTE, DEAD_LETTERS_ROUTE = "state", "events", "dlq"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic.  Sizes in bytes, times in milliseconds."""

    name: str
    generation: int
    key: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    max_message_bytes: int
    settings: tuple[tuple[str, str], ...]
    one_partition: bool = False

    def partitions(self, default: int = DEFAULT_PARTITIONS) -> int:
        """Return how many partitions the topic gets where a keyed topic gets `default`."""
        return 1 if self.one_partition else default

    def config(self, replicas: int = 1) -> dict[str, str]:
        """Return the topic's settings as Kafka takes them, for a cluster that keeps `replicas` copies.

        For the broker's own number of copies, -1, its own number in sync counts as well.
        """
        return {
            "max.message.bytes": str(self.max_message_bytes),
            **({} if replicas < 0 else {"min.insync.replicas": str(max(1, replicas - 1))}),
            "unclean.leader.election.enable": "false",
            **dict(self.settings),
        }


class TopicStage(NamedTuple):
    """A part of the flow that reads the log: its name, its consumer group, and what it reads."""

    name: str
    group: str
    topics: tuple[Topic, ...]


@dataclass(frozen=True)
class Topology:
    """All names that contain the generation: topics, consumer groups, transactional ids."""

    generation: int = 0

    def _name(self, base: str) -> str:
        return f"{base}-v{self.generation}" if self.generation else base

    @property
    def events(self) -> Topic:
        """Every event, in the order that decides."""
        return Topic(
            name=self._name("feedback-events"),
            generation=self.generation,
            key="<tenant>/<request_id>",
            writers=("ingest",),
            readers=("merger", "sink"),
            max_message_bytes=MIB,
            settings=(
                ("cleanup.policy", "delete"),
                ("retention.ms", str(EVENTS_RETENTION_MS)),
                ("message.timestamp.type", "LogAppendTime"),
            ),
        )

    @property
    def state(self) -> Topic:
        """The latest state of each request; a record's timestamp is the append time of its newest event."""
        return Topic(
            name=self._name("feedback-state"),
            generation=self.generation,
            key="<tenant>/<request_id>",
            writers=("merger",),
            readers=("merger", "sink"),
            max_message_bytes=8 * MIB,
            settings=(
                ("cleanup.policy", "compact"),
                ("message.timestamp.type", "CreateTime"),
                ANY_TIMESTAMP,
                ("delete.retention.ms", str(TOMBSTONE_RETENTION_MS)),
                ("max.compaction.lag.ms", str(DAY_MS)),
            ),
        )

    @property
    def events_dlq(self) -> Topic:
        """Events that the merger could not merge, or that ClickHouse refused."""
        return self._dead_letters("feedback-events-dlq", ("merger", "sink"))

    @property
    def state_dlq(self) -> Topic:
        """State rows that ClickHouse refused."""
        return self._dead_letters("feedback-state-dlq", ("sink",))

    def _dead_letters(self, base: str, writers: tuple[str, ...]) -> Topic:
        return Topic(
            name=self._name(base),
            generation=self.generation,
            key="the original key",
            writers=writers,
            readers=("sink",),
            max_message_bytes=10 * MIB,
            settings=(
                ("cleanup.policy", "delete"),
                ("retention.ms", str(DEAD_LETTERS_RETENTION_MS)),
                ("message.timestamp.type", "CreateTime"),
                ANY_TIMESTAMP,
            ),
            one_partition=True,
        )

    @property
    def topics(self) -> tuple[Topic, ...]:
        """Every topic of this generation, in the order of the flow."""
        return self.events, self.state, self.events_dlq, self.state_dlq

    @property
    def merger_group(self) -> str:
        """The merger's consumer group."""
        return f"feedback-merger-v{self.generation}"

    @property
    def filling_group(self) -> str:
        """Keeps how much of an earlier generation's states was copied here; its transactional id, too."""
        return f"feedback-resize-v{self.generation}"

    @property
    def reconciliation_group(self) -> str:
        """The group whose offsets are the ends of the events checked in ClickHouse; it has no members."""
        return f"feedback-reconciliation-v{self.generation}"

    def sink_group(self, route: str) -> str:
        """Return the consumer group of one of the sink's routes: state, events or dlq."""
        return f"feedback-sink-{route}-v{self.generation}"

    @property
    def stages(self) -> tuple[TopicStage, ...]:
        """Everything that reads the log, in the order of the flow."""
        letters = (self.events_dlq, self.state_dlq)
        return (
            TopicStage("merger", self.merger_group, (self.events,)),
            TopicStage("sink-state", self.sink_group(STATE_ROUTE), (self.state,)),
            TopicStage("sink-events", self.sink_group(EVENTS_ROUTE), (self.events,)),
            TopicStage("sink-dlq", self.sink_group(DEAD_LETTERS_ROUTE), letters),
        )

    @staticmethod
    def transactional_id(group: str, partition: int) -> str:
        """Return the id that fences every earlier writer for this partition of the group."""
        return f"{group}-{partition}"
