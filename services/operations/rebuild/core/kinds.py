"""The tables that can be made anew: what names a row, what orders its copies, and what it says.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import DEAD_LETTERS_ROUTE, EVENTS_ROUTE, STATE_ROUTE


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One table.  The copy of a row with the highest `order` counts, and of equal ones the last insert.

    `says` are SQL texts of what a row says, which `digests` knows how to make of a line for the sink.
    """

    table: str
    route: str
    key: tuple[str, ...]
    order: str
    says: tuple[str, ...]

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
        """What the log says of a part of the table."""
        return f"{self.table}_scope"

    @property
    def keys(self) -> str:
        """The key as SQL."""
        return ", ".join(self.key)

    @property
    def name(self) -> str:
        """The key as one text, in SQL, as `digests` writes it."""
        return " || '/' || ".join(f"toString({column})" for column in self.key)

    @property
    def digest(self) -> str:
        """What tells two contents of a row apart: a number, in SQL."""
        parts = ", '\\0', ".join(f"toString({part})" for part in (*self.key, *self.says))
        return f"reinterpretAsUInt64(substring(SHA256(concat({parts})), 1, 8))"


STATE = Kind(
    table=FEEDBACK_STATE,
    route=STATE_ROUTE,
    key=("tenant", "request_id"),
    order="revision",
    says=("revision", "version", "data", "request"),
)
EVENTS = Kind(
    table=FEEDBACK_EVENTS,
    route=EVENTS_ROUTE,
    key=("tenant", "request_id", "version"),
    order="log_offset",
    says=("log_offset", "event_id", "op", "source", "data", "request"),
)
LETTERS = Kind(
    table=DEAD_LETTERS,
    route=DEAD_LETTERS_ROUTE,
    key=("dlq_topic", "dlq_partition", "dlq_offset"),
    order="updated",
    says=("tenant", "request_id", "stage", "reason", "base64Encode(key)", "base64Encode(ifNull(raw, ''))"),
)

KINDS = (EVENTS, LETTERS, STATE)
"""In the order in which they are made anew: states last, since their readers are the most."""

NAMES = {"events": EVENTS, "dlq": LETTERS, "state": STATE}


def chosen(names: Iterable[str]) -> tuple[Kind, ...]:
    """Return the kinds of these names, or all of them."""
    wanted = {NAMES[name] for name in names}
    return tuple(kind for kind in KINDS if not wanted or kind in wanted)
