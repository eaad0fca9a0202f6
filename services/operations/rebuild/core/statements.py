"""The SQL of a rebuild: names and numbers of ours in the text, what callers name beside it.  Pure."""

from collections.abc import Iterable, Sequence

from schemas.identity import OFFSET_BITS
from schemas.tables import DEAD_LETTERS, ERASED_REQUESTS
from services.operations.rebuild.core.kinds import EVENTS, LETTERS, STATE, Kind
from services.operations.rebuild.core.scope import Reach
from services.runtime.clickhouse.core.statement import Clause, Statement

GATE = "rebuild_gate"
"""The constraint that makes ClickHouse refuse inserts for the moment of a swap; the sink tries again."""
BUILDING = "afterword rebuild: not complete yet"
FEEDS = "afterword rebuild: copies what is inserted into "
MARKS = ("replayed_at", "dropped_at", "correction")
OFFSETS = (1 << OFFSET_BITS) - 1
"""The bits of a version that are an offset."""
MOST_EXAMPLES = 5


def tables() -> Statement:
    """Ask for every table: its id, its comment, and what makes it."""
    return Statement(
        "SELECT name, toString(uuid) AS uuid, comment, create_table_query AS definition"
        " FROM system.tables WHERE database = currentDatabase()"
    )


def columns(table: str) -> Statement:
    """Ask which columns a row is inserted with."""
    return Statement(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
        " AND default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL') ORDER BY position",
        {"table": table},
    )


def sizes() -> Statement:
    """Ask what each table has on disk."""
    return Statement(
        "SELECT table, sum(bytes_on_disk) AS bytes, sum(rows) AS rows FROM system.parts"
        " WHERE active AND database = currentDatabase() GROUP BY table"
    )


def free_space() -> Statement:
    """Ask how many bytes the fullest disk of ClickHouse still takes."""
    return Statement("SELECT min(unreserved_space) AS bytes FROM system.disks")


def create(kind: Kind, table: str) -> str:
    """Make an empty table like the live one: columns, indexes, projections, settings and comments."""
    return f"CREATE TABLE {table} AS {kind.table}"


def comment(table: str, text: str) -> str:
    """Say what a table is."""
    return f"ALTER TABLE {table} MODIFY COMMENT {quoted(text)}"


def feed(kind: Kind, shadow: str) -> str:
    """Copy into the shadow, whose UUID is given, whatever is inserted into the live table from now on."""
    return (
        f"CREATE MATERIALIZED VIEW {kind.feed} TO {kind.shadow} COMMENT {quoted(FEEDS + shadow)}"
        f" AS SELECT * FROM {kind.table}"
    )


def close_gate(kind: Kind, until: str) -> str:
    """Make ClickHouse refuse inserts until a time of its own.

    Not as rows that violate a constraint, which the sink would give up, but as a failure, which it outlasts.
    The time is in the condition, so that it opens again whatever becomes of this command.
    """
    return (
        f"ALTER TABLE {kind.table} ADD CONSTRAINT {GATE} CHECK throwIf(length({kind.key[0]}) >= 0"
        f" AND now64(3, 'UTC') < toDateTime64({quoted(until)}, 3, 'UTC'),"
        " 'afterword rebuild swaps tables just now: try again') = 0"
    )


def open_gate(table: str) -> str:
    """Let inserts in again."""
    return f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {GATE}"


def later(seconds: int) -> Statement:
    """Ask for the server's time in so many seconds."""
    return Statement(f"SELECT toString(addSeconds(now64(3, 'UTC'), {seconds})) AS until")


def inserts(kind: Kind, seconds: float) -> Statement:
    """Ask how many inserts into a table have been under way for longer than that."""
    return Statement(
        "SELECT count() AS running FROM system.processes"
        " WHERE query_kind = 'Insert' AND position(query, {table:String}) > 0"
        f" AND elapsed > {seconds:.3f}",
        {"table": kind.table},
    )


def swap(kind: Kind) -> str:
    """Let both tables change names, at once."""
    return f"EXCHANGE TABLES {kind.table} AND {kind.shadow}"


# What lies in the log.


def before_starts(kind: Kind, reaches: Sequence[Reach]) -> str:
    """Return the condition of rows that stood before the start of their log, or in a log that is gone."""
    return f"NOT ({either(side(kind, one, '>=', one.starts) for one in reaches)})"


def before_ends(kind: Kind, reaches: Sequence[Reach]) -> str:
    """Return the condition of rows that stood before the end of what was read."""
    return either(side(kind, one, "<", one.ends) for one in reaches)


def of_readable(kind: Kind, reaches: Sequence[Reach]) -> str:
    """Return the condition of rows that come from a log that is there."""
    return either(_of(kind, one) for one in reaches)


def either(conditions: Iterable[str]) -> str:
    """Return the condition that one of these holds."""
    return " OR ".join(f"({condition})" for condition in conditions) or "0"


def side(kind: Kind, reach: Reach, sign: str, offsets: Sequence[int]) -> str:
    """Return the condition of rows of a reach that lie on one side of its offsets."""
    partition = {
        STATE.table: f"CRC32(concat(tenant, '/', request_id)) % {len(offsets)}",
        EVENTS.table: "log_partition",
        LETTERS.table: "dlq_partition",
    }[kind.table]
    offset = "dlq_offset" if kind is LETTERS else f"bitAnd({kind.order}, {OFFSETS})"
    return f"{_of(kind, reach)} AND {offset} {sign} {[*offsets]}::Array(UInt64)[{partition} + 1]"


def _of(kind: Kind, reach: Reach) -> str:
    if kind is LETTERS:
        return f"dlq_topic = {quoted(reach.topic)}"
    return f"bitShiftRight({kind.order}, {OFFSET_BITS}) = {reach.generation}"


# The whole table.


def summed(kind: Kind, table: str, reaches: Sequence[Reach], most: int, without: Sequence[str]) -> Statement:
    """Ask for rows and checksum of what was read, and for the keys of what came after it, `most` at most."""
    inside = before_ends(kind, reaches)
    counted = f"inside AND NOT has({{without:Array(String)}}, {kind.name})"
    return Statement(
        f"SELECT countIf({counted}) AS rows, sumIf({kind.digest}, {counted}) AS checksum,"
        f" groupArrayIf({most})({kind.name}, NOT inside) AS later"
        f" FROM (SELECT *, {inside} AS inside FROM {table} FINAL)",
        {"without": [*without]},
    )


def carry_over(
    kind: Kind, table: str, names: Sequence[str], condition: Clause, part: int, parts: int
) -> Statement:
    """Copy rows of the live table that another one has none for."""
    listed, share = ", ".join(names), f"cityHash64({kind.keys}) % {parts} = {part}"
    return Statement(
        f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {kind.table}"
        f" WHERE {share} AND ({condition.sql}) AND ({kind.keys}) NOT IN"
        f" (SELECT {kind.keys} FROM {table} WHERE {share})",
        condition.parameters,
    )


def unknown(kind: Kind, part: int, parts: int) -> Statement:
    """Ask for rows of the live table that the shadow has none for: how many, and some of their keys."""
    share = f"cityHash64({kind.keys}) % {parts} = {part}"
    return Statement(
        f"SELECT count() AS rows, groupArray({MOST_EXAMPLES})({kind.name}) AS examples"
        f" FROM {kind.table} FINAL WHERE {share} AND ({kind.keys}) NOT IN"
        f" (SELECT {kind.keys} FROM {kind.shadow} WHERE {share})"
    )


def marked(names: Sequence[str], source: str, target: str, scope: Clause) -> Statement:
    """Put dead letters of `source` into `target` with the marks that the live table has for them."""
    marks = {name: f"l.{name}" for name in MARKS}
    own = {"updated": "greatest(s.updated, l.updated)", **marks}
    values = ", ".join(own.get(name, f"s.{name}") for name in names)
    only = "AND l.known = 1 AND NOT (isNull(l.replayed_at) AND isNull(l.dropped_at) AND isNull(l.correction))"
    live = f"SELECT {LETTERS.keys}, updated, {', '.join(MARKS)}, 1 AS known FROM {DEAD_LETTERS} FINAL"
    return Statement(
        f"INSERT INTO {target} ({', '.join(names)}) SELECT {values}"
        f" FROM (SELECT * FROM {source} FINAL WHERE {scope.sql}) AS s"
        f" LEFT JOIN ({live}) AS l USING ({LETTERS.keys}) WHERE 1 {only if target != DEAD_LETTERS else ''}",
        scope.parameters,
    )


def forget_erased(kind: Kind, table: str) -> str | None:
    """Delete what was erased: the log keeps it until its segments go, and must not bring it back."""
    places = {EVENTS.table: "version", LETTERS.table: "original_version"}
    if kind.table not in places:
        return None
    # The place of a row that ClickHouse refused is inside it: the sink's sweep looks there.
    kept = "op != 'erase'" if kind is EVENTS else "NOT startsWith(original_topic, 'feedback-state')"
    erased = (
        f"SELECT tenant, request_id, max(version) AS upto FROM {ERASED_REQUESTS} GROUP BY tenant, request_id"
    )
    own = f"SELECT {kind.keys} FROM {table} AS row INNER JOIN ({erased}) AS erased"
    return (
        f"DELETE FROM {table} WHERE {kept} AND ({kind.keys}) IN"
        f" ({own} USING (tenant, request_id) WHERE {places[kind.table]} <= upto)"
    )


def crashed() -> Statement:
    """Ask where the events stood that the merger gave up because they ended it."""
    return Statement(
        f"SELECT original_topic, original_partition, original_offset FROM {DEAD_LETTERS} FINAL"
        " WHERE stage = 'merger' AND reason = 'crashed'"
    )


def quoted(text: str) -> str:
    """Return an SQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
