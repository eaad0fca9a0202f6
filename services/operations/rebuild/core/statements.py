"""The SQL of a rebuild, of whole tables and of a scope.

Names and numbers of ours are in the text, values of callers are parameters.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from schemas.identity import OFFSET_BITS
from schemas.tables import DEAD_LETTERS, ERASED_REQUESTS
from services.operations.rebuild.core.scope import (
    EVENTS,
    LETTERS,
    STATE,
    RebuildScope,
    RebuildTable,
    TopicRange,
)
from services.reconciliation.core.missing_events import quoted
from services.runtime.clickhouse.core.statement import Clause, Statement

GATE = "rebuild_gate"
"""The constraint that makes ClickHouse refuse inserts for the moment of a swap; the sink tries again."""
BUILDING = "afterword rebuild: not complete yet"
FEEDS = "afterword rebuild: copies what is inserted into "
MARKS = ("replayed_at", "dropped_at", "correction")
OFFSETS = (1 << OFFSET_BITS) - 1
"""The bits of a version that are an offset."""
MOST_EXAMPLES = 5


def create(kind: RebuildTable, table: str) -> str:
    """Make an empty table like the live one: columns, indexes, projections, settings and comments."""
    return f"CREATE TABLE {table} AS {kind.table}"


def comment(table: str, text: str) -> str:
    """Set a table's comment."""
    return f"ALTER TABLE {table} MODIFY COMMENT {quoted(text)}"


def feed(kind: RebuildTable, shadow: str) -> str:
    """Copy into the shadow, whose UUID is given, whatever is inserted into the live table from now on."""
    return (
        f"CREATE MATERIALIZED VIEW {kind.feed} TO {kind.shadow} COMMENT {quoted(FEEDS + shadow)}"
        f" AS SELECT * FROM {kind.table}"
    )


def close_gate(kind: RebuildTable, until: str) -> str:
    """Make ClickHouse refuse inserts until a time of its own.

    Not as a constraint that rows violate, which the sink would dead-letter, but as a failure: it retries.
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
    """Select the server's time plus a number of seconds."""
    return Statement(f"SELECT toString(addSeconds(now64(3, 'UTC'), {seconds})) AS until")


def inserts(kind: RebuildTable, seconds: float) -> Statement:
    """Ask how many inserts into a table have been under way for longer than that."""
    return Statement(
        "SELECT count() AS running FROM system.processes"
        " WHERE query_kind = 'Insert' AND position(query, {table:String}) > 0"
        f" AND elapsed > {seconds:.3f}",
        {"table": kind.table},
    )


def swap(kind: RebuildTable) -> str:
    """Let both tables change names, at once."""
    return f"EXCHANGE TABLES {kind.table} AND {kind.shadow}"


# What the log has.


def before_starts(kind: RebuildTable, ranges: Sequence[TopicRange]) -> str:
    """Return the condition of rows that stood before the start of their log, or in a log that is gone."""
    return f"NOT ({either(side(kind, one, '>=', one.starts) for one in ranges)})"


def before_ends(kind: RebuildTable, ranges: Sequence[TopicRange]) -> str:
    """Return the condition of rows that stood before the end of what was read."""
    return either(side(kind, one, "<", one.ends) for one in ranges)


def of_readable(kind: RebuildTable, ranges: Sequence[TopicRange]) -> str:
    """Return the condition of rows that come from a log that is there."""
    return either(_of(kind, one) for one in ranges)


def either(conditions: Iterable[str]) -> str:
    """Return the condition that one of these holds."""
    return " OR ".join(f"({condition})" for condition in conditions) or "0"


def side(kind: RebuildTable, span: TopicRange, sign: str, offsets: Sequence[int]) -> str:
    """Return the condition of rows of a reach that lie on one side of its offsets."""
    partition = {
        STATE.table: f"CRC32(concat(tenant, '/', request_id)) % {len(offsets)}",
        EVENTS.table: "log_partition",
        LETTERS.table: "dlq_partition",
    }[kind.table]
    offset = "dlq_offset" if kind is LETTERS else f"bitAnd({kind.order}, {OFFSETS})"
    return f"{_of(kind, span)} AND {offset} {sign} {[*offsets]}::Array(UInt64)[{partition} + 1]"


def _of(kind: RebuildTable, span: TopicRange) -> str:
    if kind is LETTERS:
        return f"dlq_topic = {quoted(span.topic)}"
    return f"bitShiftRight({kind.order}, {OFFSET_BITS}) = {span.generation}"


# The whole table.


def summed(
    kind: RebuildTable, table: str, ranges: Sequence[TopicRange], most: int, without: Sequence[str]
) -> Statement:
    """Ask for rows and checksum of what was read, and for the keys of what came after it, `most` at most."""
    inside = before_ends(kind, ranges)
    counted = f"inside AND NOT has({{without:Array(String)}}, {kind.name})"
    return Statement(
        f"SELECT countIf({counted}) AS rows, sumIf({kind.digest}, {counted}) AS checksum,"
        f" groupArrayIf({most})({kind.name}, NOT inside) AS later"
        f" FROM (SELECT *, {inside} AS inside FROM {table} FINAL)",
        {"without": [*without]},
    )


def carry_over(
    kind: RebuildTable, table: str, names: Sequence[str], condition: Clause, part: int, parts: int
) -> Statement:
    """Copy rows of the live table that another one has none for."""
    listed, share = ", ".join(names), f"cityHash64({kind.keys}) % {parts} = {part}"
    return Statement(
        f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {kind.table}"
        f" WHERE {share} AND ({condition.sql}) AND ({kind.keys}) NOT IN"
        f" (SELECT {kind.keys} FROM {table} WHERE {share})",
        condition.parameters,
    )


def unknown(kind: RebuildTable, part: int, parts: int) -> Statement:
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


def forget_erased(kind: RebuildTable, table: str) -> str | None:
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


def scoped(kind: RebuildTable, scope: RebuildScope, versions: Sequence[TopicRange] = ()) -> Clause:
    """Return the condition of rows in a scope.

    `versions` are the offsets of events that were appended in its time: a state is of the time of its newest
    event.  Rows of nothing but an erasure have none, and belong to every time.
    """
    conditions, parameters = ["1"], {}
    if scope.tenant is not None:
        conditions.append("tenant = {tenant:String}")
        parameters["tenant"] = scope.tenant
    if scope.is_timed and kind is STATE:
        conditions.append(f"(is_deleted OR {either(_versions(version) for version in versions)})")
    elif scope.is_timed:
        column = "appended_at" if kind is EVENTS else "failed_at"
        for sign, moment in ((">=", scope.since), ("<", scope.until)):
            if moment is not None:
                conditions.append(f"{column} {sign} {_instant(moment)}")
    return Clause(" AND ".join(conditions), parameters)


def _versions(span: TopicRange) -> str:
    partition = f"CRC32(concat(tenant, '/', request_id)) % {len(span.starts)} + 1"
    offset = f"bitAnd(version, {OFFSETS})"
    return (
        f"bitShiftRight(version, {OFFSET_BITS}) = {span.generation}"
        f" AND {offset} >= {[*span.starts]}::Array(UInt64)[{partition}]"
        f" AND {offset} < {[*span.ends]}::Array(UInt64)[{partition}]"
    )


def again(kind: RebuildTable, names: Sequence[str], scope: Clause) -> Statement:
    """Insert the rows of the log into the live table: of equal revisions, the last insert counts."""
    if kind is LETTERS:
        return marked(names, kind.scratch, kind.table, scope)
    listed = ", ".join(names)
    return Statement(
        f"INSERT INTO {kind.table} ({listed}) SELECT {listed} FROM {kind.scratch} WHERE {scope.sql}",
        scope.parameters,
    )


def wrong(
    kind: RebuildTable, scope: Clause, ranges: Sequence[TopicRange], *, keep_unknown: bool, limit: int
) -> Statement:
    """Ask for rows of the live table that the log may not know: key, place and partition of each."""
    mine = f"SELECT * FROM {kind.table} WHERE {scope.sql}"
    if kind is not STATE:
        exact = kind.keys if kind is LETTERS else f"{kind.keys}, {kind.order}"
        named = f" AND ({kind.keys}) IN (SELECT {kind.keys} FROM {kind.scratch})" if keep_unknown else ""
        return Statement(
            f"SELECT DISTINCT {exact}, {_place(kind)} FROM ({mine})"
            f" WHERE NOT ({_gone(kind, ranges)})"
            f" AND ({exact}) NOT IN (SELECT {exact} FROM {kind.scratch}){named} LIMIT {limit}",
            scope.parameters,
        )
    known = (
        f"SELECT tenant, request_id, max(revision) AS top, 1 AS known FROM {kind.scratch}"
        " GROUP BY tenant, request_id"
    )
    lost = "0" if keep_unknown else "known = 0 AND is_deleted = 0"
    return Statement(
        f"SELECT DISTINCT tenant, request_id, revision, {_place(kind)} FROM ({mine}) AS row"
        f" LEFT JOIN ({known}) AS log USING (tenant, request_id)"
        f" WHERE ({lost}) OR (known = 1 AND revision > top) LIMIT {limit}",
        scope.parameters,
    )


def _gone(kind: RebuildTable, ranges: Sequence[TopicRange]) -> str:
    """Return the condition of rows that stood in what the log has lost since: they are kept."""
    return either(side(kind, one, "<", one.starts) for one in ranges)


def _place(kind: RebuildTable) -> str:
    if kind is LETTERS:
        return "toUInt64(dlq_offset) AS place, dlq_partition AS part, dlq_topic AS topic"
    part = "log_partition" if kind is EVENTS else "0"
    return f"{kind.order} AS place, {part} AS part, '' AS topic"


def keeping(kind: RebuildTable) -> str:
    """Make the table for what is going to be deleted, unless an earlier rebuild has."""
    return f"CREATE TABLE IF NOT EXISTS {kind.kept} AS {kind.table}"


def keep(kind: RebuildTable, names: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Copy rows by key and order to where old rows are kept."""
    listed = ", ".join(names)
    return f"INSERT INTO {kind.kept} ({listed}) SELECT {listed} FROM {kind.table} WHERE {_those(kind, rows)}"


def delete(kind: RebuildTable, rows: Sequence[Sequence[str | int]]) -> str:
    """Delete rows by key and order."""
    return f"DELETE FROM {kind.table} WHERE {_those(kind, rows)}"


def _those(kind: RebuildTable, rows: Sequence[Sequence[str | int]]) -> str:
    exact = kind.keys if kind is LETTERS else f"{kind.keys}, {kind.order}"
    listed = ", ".join("(" + ", ".join(_literal(value) for value in row) + ")" for row in rows)
    return f"({exact}) IN ({listed})"


def still_wrong(kind: RebuildTable, scope: Clause) -> Statement:
    """Ask how many rows of the log the live table does not show as they are.

    FINAL hides a row that was erased since the log was read, so that it seems to be missing.
    """
    shown = f"SELECT {kind.keys}, {kind.order} AS place, {kind.digest} AS says, 1 AS known"
    is_erased = "is_deleted" if kind is STATE else "0"
    erased = (
        f"SELECT {kind.keys}, max({kind.order}) AS place FROM {kind.table} WHERE {is_erased} AND {scope.sql}"
    )
    return Statement(
        f"SELECT count() AS rows FROM ({shown} FROM {kind.scratch} FINAL WHERE {scope.sql}) AS log"
        f" LEFT JOIN ({shown} FROM {kind.table} FINAL) AS row USING ({kind.keys})"
        f" LEFT JOIN ({erased} GROUP BY {kind.keys}) AS gone USING ({kind.keys})"
        " WHERE gone.place <= log.place AND (row.known = 0 OR row.place < log.place"
        " OR (row.place = log.place AND row.says != log.says))",
        scope.parameters,
    )


def _instant(moment: datetime) -> str:
    return f"fromUnixTimestamp64Micro({int(moment.astimezone(UTC).timestamp() * 1_000_000)}, 'UTC')"


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else quoted(value)
