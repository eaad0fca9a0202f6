"""What a rebuild is about: which tables, which rows of them, and which offsets of the log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.identity import event_key
from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import DEAD_LETTERS_ROUTE, EVENTS_ROUTE, STATE_ROUTE
from services.operations.audit.core.checksum import LETTER_SQL, STATE_SQL
from services.reconciliation.core.events import DIGEST_SQL


@dataclass(frozen=True, kw_only=True)
class RebuildTable:
    """One table.  The copy of a row with the highest `order` counts, and of equal ones the last insert.

    `content` are SQL expressions of a row's content, which `checksum` computes of a line for the sink, too.
    """

    table: str
    route: str
    key: tuple[str, ...]
    order: str
    content: tuple[str, ...]

    @property
    def shadow(self) -> str:
        """The table that is filled beside the live one; after the swap, the old one."""
        return f"{self.table}_rebuild"

    @property
    def feed(self) -> str:
        """The view that copies what the sink inserts meanwhile."""
        return f"{self.table}_rebuild_feed"

    @property
    def kept(self) -> str:
        """The old table, after all is done."""
        return f"{self.table}_before_rebuild"

    @property
    def scratch(self) -> str:
        """What the log has of a part of the table."""
        return f"{self.table}_scope"

    @property
    def keys(self) -> str:
        """The key as SQL."""
        return ", ".join(self.key)

    @property
    def name(self) -> str:
        """The key as one text, in SQL, as `checksum` writes it."""
        return " || '/' || ".join(f"toString({column})" for column in self.key)

    @property
    def digest(self) -> str:
        """The checksum of a row, in SQL."""
        parts = ", '\\0', ".join(f"toString({part})" for part in (*self.key, *self.content))
        return f"halfMD5(concat({parts}))"


STATE = RebuildTable(
    table=FEEDBACK_STATE,
    route=STATE_ROUTE,
    key=("tenant", "request_id"),
    order="revision",
    content=("revision", "version", STATE_SQL),
)
EVENTS = RebuildTable(
    table=FEEDBACK_EVENTS,
    route=EVENTS_ROUTE,
    key=("tenant", "request_id", "version"),
    order="log_offset",
    content=("log_offset", DIGEST_SQL),
)
LETTERS = RebuildTable(
    table=DEAD_LETTERS,
    route=DEAD_LETTERS_ROUTE,
    key=("dlq_topic", "dlq_partition", "dlq_offset"),
    order="updated",
    content=("tenant", "request_id", LETTER_SQL),
)

REBUILD_TABLES = (EVENTS, LETTERS, STATE)
"""In the order in which they are rebuilt: states last, since most queries read them."""

NAMES = {"events": EVENTS, "dlq": LETTERS, "state": STATE}


def chosen(names: Iterable[str]) -> tuple[RebuildTable, ...]:
    """Return the kinds of these names, or all of them."""
    options = {NAMES[name] for name in names}
    return tuple(kind for kind in REBUILD_TABLES if not options or kind in options)


Place = tuple[str, int]
"""A topic and the number of a partition."""


@dataclass(frozen=True)
class RebuildScope:
    """A tenant's rows, those of a time, or both.  The time is from `since` to before `until`."""

    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it leaves nothing out."""
        return self == EVERYTHING

    @property
    def is_timed(self) -> bool:
        """Whether it is about a time."""
        return self.since is not None or self.until is not None

    def has(self, key: bytes | None) -> bool:
        """Return whether a record with that key is of the tenant."""
        return self.tenant is None or (key or b"").startswith(event_key(self.tenant, ""))

    def __str__(self) -> str:
        parts = [
            f"tenant {self.tenant}" if self.tenant else "",
            f"from {self.since.isoformat()}" if self.since else "",
            f"to {self.until.isoformat()}" if self.until else "",
        ]
        return " ".join(part for part in parts if part) or "everything"


EVERYTHING = RebuildScope()


@dataclass(frozen=True)
class TopicRange:
    """Offsets of one generation of a topic, by partition: from each start to before each end."""

    topic: str
    generation: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def records(self) -> int:
        """How many offsets that are."""
        return sum(end - start for start, end in zip(self.starts, self.ends, strict=True))


def topic_range(
    topic: str, generation: int, starts: Mapping[Place, int], ends: Mapping[Place, int]
) -> TopicRange:
    """Return the range of a topic from the offsets of its partitions."""
    numbers = sorted(number for name, number in ends if name == topic)
    return TopicRange(
        topic,
        generation,
        tuple(starts[topic, number] for number in numbers),
        tuple(ends[topic, number] for number in numbers),
    )
