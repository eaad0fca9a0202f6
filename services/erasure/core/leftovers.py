"""SQL that selects and deletes rows at or below erases.  Pure: statements and their parameters.

Tests compare them with the same rule in Python.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE
from services.erasure.core.statements import KEY, PLACE, ErasureScope
from services.runtime.clickhouse.core.statement import Statement

SWEPT = (FEEDBACK_EVENTS, DEAD_LETTERS, FEEDBACK_STATE)
"""The tables that rows are deleted from."""


def _changed(table: str, since: str | None) -> str:
    """Return the condition that rows lie in parts that were written since then."""
    if since is None:
        return "true"
    return (
        "_part IN (SELECT name FROM system.parts WHERE active AND database = currentDatabase()"
        f" AND table = '{table}' AND modification_time >= parseDateTimeBestEffort({{since:String}}, 'UTC'))"
    )


def left_events(scope: ErasureScope, since: str | None = None, limit: int = 100_000) -> Statement:
    """Ask for requests with events at or below their erase: how many, and up to where they are erased."""
    return Statement(
        f"SELECT {KEY}, any(upto) AS erased, count() AS n FROM {FEEDBACK_EVENTS} AS events"
        f" INNER JOIN ({scope.erased}) AS erases USING ({KEY}) WHERE op != 'erase' AND version <= upto"
        f" AND ({KEY}) IN ({scope.keys}) AND {_changed(FEEDBACK_EVENTS, since)}"
        f" GROUP BY {KEY} ORDER BY {KEY} LIMIT {limit:d}",
        {**scope.parameters, **_since(since)},
    )


def left_states(scope: ErasureScope, since: str | None = None, limit: int = 100_000) -> Statement:
    """Ask for erased requests that still have older versions of their row, and for the newest revision."""
    return Statement(
        f"SELECT {KEY}, max(revision) AS erased, countIf(revision < newest) AS n FROM ("
        f"SELECT {KEY}, revision, max(revision) OVER (PARTITION BY {KEY}) AS newest FROM {FEEDBACK_STATE}"
        f" WHERE ({KEY}) IN ({_in_changed(scope, since)}))"
        f" GROUP BY {KEY} HAVING n > 0 ORDER BY {KEY} LIMIT {limit:d}",
        {**scope.parameters, **_since(since)},
    )


def _in_changed(scope: ErasureScope, since: str | None) -> str:
    if since is None:
        return scope.keys
    return (
        f"SELECT {KEY} FROM {FEEDBACK_STATE} WHERE ({KEY}) IN ({scope.keys})"
        f" AND {_changed(FEEDBACK_STATE, since)}"
    )


def left_letters(scope: ErasureScope, since: str | None = None, limit: int = 100_000) -> Statement:
    """Ask for dead letters at or below the erase of their request."""
    return Statement(
        f"SELECT dlq_topic, dlq_partition, dlq_offset FROM {DEAD_LETTERS} AS letters"
        f" INNER JOIN ({scope.erased}) AS erases USING ({KEY})"
        f" WHERE ({KEY}) IN ({scope.keys}) AND {_changed(DEAD_LETTERS, since)}"
        f" AND if(isNull({PLACE}), failed_at <= erased_at, assumeNotNull({PLACE}) <= upto)"
        f" GROUP BY dlq_topic, dlq_partition, dlq_offset ORDER BY dlq_topic, dlq_partition, dlq_offset"
        f" LIMIT {limit:d}",
        {**scope.parameters, **_since(since)},
    )


def standing(scope: ErasureScope) -> Statement:
    """Ask how many erased requests have a row that is not newer than their erase."""
    return Statement(
        f"SELECT count() AS n FROM (SELECT {KEY}, argMax(is_deleted, revision) AS gone,"
        f" argMax(version, revision) AS latest FROM {FEEDBACK_STATE} WHERE ({KEY}) IN ({scope.keys})"
        f" GROUP BY {KEY}) AS latest_rows INNER JOIN ({scope.erased}) AS erases USING ({KEY})"
        " WHERE gone = 0 AND latest <= upto",
        scope.parameters,
    )


def _since(since: str | None) -> dict[str, str]:
    return {} if since is None else {"since": since}


def unfinished(table: str) -> Statement:
    """Ask how many mutations of a table are under way."""
    return Statement(
        "SELECT count() AS n FROM system.mutations"
        " WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done",
        {"table": table},
    )


def delete_events(tenant: str, upto: Mapping[str, int]) -> Statement:
    """Delete events of these requests up to a version each, and no erase event."""
    return Statement(
        f"ALTER TABLE {FEEDBACK_EVENTS} DELETE WHERE {_OWN} AND op != 'erase' AND version <= {_UPTO}",
        _by_request(tenant, upto),
    )


def delete_states(tenant: str, newest: Mapping[str, int]) -> Statement:
    """Delete the versions of these requests' rows that are below a revision each."""
    return Statement(
        f"ALTER TABLE {FEEDBACK_STATE} DELETE WHERE {_OWN} AND revision < {_UPTO}",
        _by_request(tenant, newest),
    )


_OWN = "tenant = {tenant:String} AND request_id IN {ids:Array(String)}"
_UPTO = "transform(request_id, {ids:Array(String)}, {upto:Array(UInt64)}, toUInt64(0))"


def _by_request(tenant: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {"tenant": tenant, "ids": list(numbers), "upto": list(numbers.values())}


def delete_letters(topic: str, partition: int, offsets: Sequence[int]) -> Statement:
    """Delete these dead letters."""
    return Statement(
        f"ALTER TABLE {DEAD_LETTERS} DELETE WHERE dlq_topic = {{topic:String}}"
        " AND dlq_partition = {partition:UInt32} AND dlq_offset IN {offsets:Array(UInt64)}",
        {"topic": topic, "partition": partition, "offsets": list(offsets)},
    )
