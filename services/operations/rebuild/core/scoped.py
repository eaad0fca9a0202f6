"""The SQL of a rebuild that puts a part of a table right, and of what belongs to that part.  Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from schemas.identity import OFFSET_BITS
from services.operations.rebuild.core.kinds import EVENTS, LETTERS, STATE, Kind
from services.operations.rebuild.core.scope import Reach, Scope
from services.operations.rebuild.core.statements import OFFSETS, either, marked, quoted, side
from services.runtime.clickhouse.core.statement import Clause, Statement


def scoped(kind: Kind, scope: Scope, versions: Sequence[Reach] = ()) -> Clause:
    """Return the condition of rows in a scope.

    `versions` say which offsets of the events were appended in its time: a state is of the time of its newest
    event.  Rows that say of nothing but an erasure have none, and belong to every time.
    """
    conditions, parameters = ["1"], {}
    if scope.tenant is not None:
        conditions.append("tenant = {tenant:String}")
        parameters["tenant"] = scope.tenant
    if scope.is_timed and kind is STATE:
        conditions.append(f"(is_deleted OR {either(_versions(one) for one in versions)})")
    elif scope.is_timed:
        column = "appended_at" if kind is EVENTS else "failed_at"
        for sign, moment in ((">=", scope.since), ("<", scope.until)):
            if moment is not None:
                conditions.append(f"{column} {sign} {_instant(moment)}")
    return Clause(" AND ".join(conditions), parameters)


def _versions(reach: Reach) -> str:
    partition = f"CRC32(concat(tenant, '/', request_id)) % {len(reach.starts)} + 1"
    offset = f"bitAnd(version, {OFFSETS})"
    return (
        f"bitShiftRight(version, {OFFSET_BITS}) = {reach.generation}"
        f" AND {offset} >= {[*reach.starts]}::Array(UInt64)[{partition}]"
        f" AND {offset} < {[*reach.ends]}::Array(UInt64)[{partition}]"
    )


def again(kind: Kind, names: Sequence[str], scope: Clause) -> Statement:
    """Insert what the log says into the live table: of equal revisions, the last insert counts."""
    if kind is LETTERS:
        return marked(names, kind.scratch, kind.table, scope)
    listed = ", ".join(names)
    return Statement(
        f"INSERT INTO {kind.table} ({listed}) SELECT {listed} FROM {kind.scratch} WHERE {scope.sql}",
        scope.parameters,
    )


def wrong(
    kind: Kind, scope: Clause, reaches: Sequence[Reach], *, keep_unknown: bool, limit: int
) -> Statement:
    """Ask for rows of the live table that the log may not know: key, place and partition of each."""
    mine = f"SELECT * FROM {kind.table} WHERE {scope.sql}"
    if kind is not STATE:
        exact = kind.keys if kind is LETTERS else f"{kind.keys}, {kind.order}"
        named = f" AND ({kind.keys}) IN (SELECT {kind.keys} FROM {kind.scratch})" if keep_unknown else ""
        return Statement(
            f"SELECT DISTINCT {exact}, {_place(kind)} FROM ({mine})"
            f" WHERE NOT ({_gone(kind, reaches)})"
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


def _gone(kind: Kind, reaches: Sequence[Reach]) -> str:
    """Return the condition of rows that stood in what the log has lost since: they are kept."""
    return either(side(kind, one, "<", one.starts) for one in reaches)


def _place(kind: Kind) -> str:
    if kind is LETTERS:
        return "toUInt64(dlq_offset) AS place, dlq_partition AS part, dlq_topic AS topic"
    part = "log_partition" if kind is EVENTS else "0"
    return f"{kind.order} AS place, {part} AS part, '' AS topic"


def keeping(kind: Kind) -> str:
    """Make the table for what is going to be deleted, unless an earlier rebuild has."""
    return f"CREATE TABLE IF NOT EXISTS {kind.kept} AS {kind.table}"


def keep(kind: Kind, names: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Copy rows by key and order to where old rows are kept."""
    listed = ", ".join(names)
    return f"INSERT INTO {kind.kept} ({listed}) SELECT {listed} FROM {kind.table} WHERE {_those(kind, rows)}"


def delete(kind: Kind, rows: Sequence[Sequence[str | int]]) -> str:
    """Delete rows by key and order."""
    return f"DELETE FROM {kind.table} WHERE {_those(kind, rows)}"


def _those(kind: Kind, rows: Sequence[Sequence[str | int]]) -> str:
    exact = kind.keys if kind is LETTERS else f"{kind.keys}, {kind.order}"
    listed = ", ".join("(" + ", ".join(_literal(value) for value in row) + ")" for row in rows)
    return f"({exact}) IN ({listed})"


def still_wrong(kind: Kind, scope: Clause) -> Statement:
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
