"""What a migration has to do, what it refuses, and which settings of topics and brokers are wrong."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from schemas.tables import MINIMUM_VERSION, Migration
from schemas.topics import EVENTS_RETENTION_MS, Topology
from services.pipeline.core.continuity import Recorded, is_abandoned
from services.pipeline.core.generation_states import LIMIT, GenerationState, standing_of
from services.runtime.kafka.core.topic_copies import Brokers, shortage
from services.runtime.kafka.core.topic_copies import wanted as copies_wanted


class FindingSeverity(Enum):
    """Whether Afterword works with a setting."""

    WRONG = "wrong"
    """A promise does not hold."""
    NOTE = "note"
    """A valid choice of an operator, only reported."""


@dataclass(frozen=True)
class TopicFinding:
    """A setting that differs from what Afterword would have set, and how to change it."""

    weight: FindingSeverity
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class AppliedMigration:
    """A migration as the database recorded it."""

    number: int
    name: str
    checksum: str


@dataclass(frozen=True)
class ExistingTopic:
    """A topic as Kafka has it."""

    name: str
    partitions: int
    config: Mapping[str, str]
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Settings of the topic itself, without defaults of the broker."""
    replicas: int = 1
    """Replicas of the partition that has fewest."""


class MigrationRefusedError(Exception):
    """The migration would do damage.  The text explains why, and what to do."""


def check_server(version: str) -> None:
    """Refuse a ClickHouse that is too old."""
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < MINIMUM_VERSION:
        wanted = ".".join(map(str, MINIMUM_VERSION))
        raise MigrationRefusedError(
            f"This ClickHouse is version {version}; Afterword needs {wanted} or newer, the first release with"
            " text indexes enabled by default (words of comments are looked up in one)."
        )


def pending(applied: Sequence[AppliedMigration], known: Sequence[Migration]) -> list[Migration]:
    """Return the migrations to run, in order; refuse a database of a newer or changed Afterword."""
    by_number = {migration.number: migration for migration in known}
    for was in applied:
        now = by_number.get(was.number)
        if now is None:
            raise MigrationRefusedError(
                f"The database has migration {was.number:04}_{was.name}, which this Afterword does not know:"
                " it was migrated by a newer one. Run that one."
            )
        if now.checksum != was.checksum:
            raise MigrationRefusedError(
                f"Migration {was.number:04}_{was.name} was changed after it was applied. Put the file back as"
                " it was, and write the change into a new one."
            )
    done = {was.number for was in applied}
    return [migration for migration in known if migration.number not in done]


class NeedsRecoveryError(MigrationRefusedError):
    """The next generation of topics must be filled first, by `afterword recover`."""


_RECOVER = (
    "`afterword recover` fills the next generation of topics from all that ClickHouse and Kafka still have,"
    " and deletes nothing; under `afterword up`, start that once with --recover. To begin without the rows"
    " that are stored, which keeps them where they are, set CLICKHOUSE_DATABASE to a new name."
)


def check_deployment(
    recorded: Sequence[Recorded],
    generation: int,
    cluster_id: str,
    missing: Sequence[str],
    database: str,
    *,
    has_rows: bool = True,
    standing: GenerationState = GenerationState.OPEN,
) -> None:
    """Refuse to connect these tables to these topics when rows would be lost or overwritten.

    `missing` are the topics of this generation that do not exist.  `has_rows`: whether anything is stored,
    which a new generation must begin with.
    """
    own = next((record for record in recorded if record.generation == generation), None)
    newest = max((record.generation for record in recorded), default=0)
    if standing is GenerationState.NEW:
        raise MigrationRefusedError(
            f"Generation {generation} of the topics was begun and never opened, so its states may not be"
            " complete. Run the `afterword recover` or `afterword resize` again that was cut off."
        )
    if own is None and recorded and generation > newest and has_rows:
        raise NeedsRecoveryError(
            f"Database {database} holds rows of generation {newest}, and generation {generation} would begin"
            " without them: new events would replace older feedback instead of being merged into it."
            f" {_RECOVER}"
        )
    if own is None and recorded and generation < newest:
        raise MigrationRefusedError(
            f"Generation {newest} of the topics is in use; generation {generation} is older, and what it"
            f" carried would never be seen. Set KAFKA_TOPIC_GENERATION={newest}."
        )
    if own is not None and is_abandoned(own):
        raise MigrationRefusedError(
            f"Generation {generation} of the topics was left: generation {newest} holds all of it. Unset"
            f" KAFKA_TOPIC_GENERATION, or set it to {newest}."
        )
    if own is not None and own.cluster_id != cluster_id:
        raise NeedsRecoveryError(
            f"This Kafka cluster is {cluster_id}, but database {database} holds rows from"
            f" {own.cluster_id}. If KAFKA_BOOTSTRAP_SERVERS or CLICKHOUSE_URL names the wrong server, correct"
            f" it. If Kafka was replaced, its offsets begin again and new events would lose against stored"
            f" rows. {_RECOVER}"
        )
    if own is not None and missing:
        raise NeedsRecoveryError(
            f"Kafka has lost {' and '.join(missing)}. Made again under the same name, its offsets would begin"
            f" again and new events would lose against stored rows. {_RECOVER}"
        )


def replication(wished: int | None, brokers: Brokers, agree: Callable[[str], bool]) -> int:
    """Return the replication factor of new topics; RefusedError for fewer than wanted, unless agreed to."""
    count = copies_wanted(wished, brokers)
    why = shortage(count, brokers)
    if not why:
        return count
    fewer = len(brokers.live)
    if not agree(f"{why}: topics are created with {fewer}, and keep that."):
        raise MigrationRefusedError(
            f"{why}. Topics keep the replicas that they are created with: start every broker first."
            f" `afterword migrate --yes` creates them with {fewer}; KAFKA_REPLICATION_FACTOR sets it."
        )
    return fewer


def findings(
    topology: Topology,
    existing: Mapping[str, ExistingTopic],
    partitions: int | None,
    configured: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[TopicFinding]:
    """Compare topics with what they should be; `partitions` None means any number will do.

    `configured` has settings by topic that override the defaults of Afterword.
    """
    for topic in topology.topics:
        found = existing[topic.name]
        if partitions is not None and found.partitions != topic.partitions(partitions):
            yield TopicFinding(
                FindingSeverity.WRONG,
                f"{topic.name} has {found.partitions} partitions, not {topic.partitions(partitions)}.",
                "Partitions of a live topic never change: use its number, or `afterword resize`.",
            )
        yield from _settings(
            found, topic.config(found.replicas) | dict((configured or {}).get(topic.name, {}))
        )
    events, state = existing[topology.events.name], existing[topology.state.name]
    if events.partitions != state.partitions:
        yield TopicFinding(
            FindingSeverity.WRONG,
            f"{events.name} has {events.partitions} partitions and {state.name} has {state.partitions}:"
            " a row and its events would not share a partition.",
            "Begin a new generation.",
        )


def _settings(found: ExistingTopic, config: Mapping[str, str]) -> Iterator[TopicFinding]:
    for name, wanted in config.items():
        actual = found.config.get(name)
        if actual is None or actual == wanted:
            continue
        if name == LIMIT and standing_of(int(actual)) is not GenerationState.OPEN:
            yield TopicFinding(
                FindingSeverity.NOTE,
                f"{found.name} accepts no events: a resize or a recovery has paused it.",
                "Run `afterword resize` or `afterword recover` again as it was called, or"
                " `afterword resize --abort`.",
            )
            continue
        change = (
            f"kafka-configs.sh --alter --entity-type topics --entity-name {found.name}"
            f" --add-config {name}={wanted}"
        )
        yield TopicFinding(
            _weight(name, wanted, actual), f"{found.name}: {name} is {actual}, not {wanted}.", change
        )


_AT_LEAST = frozenset({"max.message.bytes", "retention.ms", "delete.retention.ms", "min.insync.replicas"})
_FREE = frozenset({"max.compaction.lag.ms", "message.timestamp.after.max.ms"})


def _weight(name: str, wanted: str, actual: str) -> FindingSeverity:
    """Return the severity: more is an operator's choice; less, or another value, breaks a promise."""
    if name in _AT_LEAST:
        unlimited = int(actual) < 0
        return FindingSeverity.NOTE if unlimited or int(actual) > int(wanted) else FindingSeverity.WRONG
    return FindingSeverity.NOTE if name in _FREE else FindingSeverity.WRONG


def broker_findings(
    config: Mapping[str, str], events_ms: int = EVENTS_RETENTION_MS
) -> Iterator[TopicFinding]:
    """Compare a broker's settings with what the topics need; `events_ms`: retention of events."""
    minutes = events_ms // 60_000
    if int(config.get("offsets.retention.minutes", minutes)) < minutes:
        yield TopicFinding(
            FindingSeverity.NOTE,
            f"The broker deletes the offsets of a stopped service after"
            f" {config['offsets.retention.minutes']} minutes, before the events expire ({minutes}).",
            f"Set offsets.retention.minutes={minutes} on every broker.",
        )
    if config.get("auto.create.topics.enable") == "true":
        yield TopicFinding(
            FindingSeverity.NOTE,
            "The broker creates topics on first use, with its own settings.",
            "Set auto.create.topics.enable=false on every broker.",
        )
