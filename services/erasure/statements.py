"""What is asked of ClickHouse, and what is deleted there.  Pure: SQL of ours, and values beside it.

The rule of what goes with an erase is in `coverage`, said in Python; tests hold both together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from schemas.identity import version_of
from schemas.tables import (
    DEAD_LETTERS,
    DEPLOYMENTS,
    ERASED_REQUESTS,
    ERASURES,
    FEEDBACK_EVENTS,
    FEEDBACK_STATE,
    SINK_POSITIONS,
)
from services.erasure.erasures import State
from services.erasure.identity import PREFIX_CHARACTERS, prefix

SWEPT = (FEEDBACK_EVENTS, DEAD_LETTERS, FEEDBACK_STATE)
"""The tables that rows are deleted from."""


@dataclass(frozen=True)
class Statement:
    """`parameters` fill the `{name:Type}` places on the server."""

    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


_MINE = (
    "tenant = {tenant:String}"
    f" AND substring(toString(event_id), 1, {PREFIX_CHARACTERS}) = {{prefix:String}}"
)
_KEY = "tenant, request_id"
_USER = "has(user_hashes, toFixedString(unhex({user:String}), 16))"
_PLACE = (
    "if(stage = 'sink' AND startsWith(original_topic, 'feedback-state'),"
    " if(JSONHas(ifNull(raw, ''), 'version') OR JSONHas(ifNull(raw, ''), 'erased'),"
    " toNullable(greatest(JSONExtractUInt(ifNull(raw, ''), 'version'),"
    " JSONExtractUInt(ifNull(raw, ''), 'erased'))), NULL),"
    " original_version)"
)
"""The place of a dead letter in the order of events: a row's is inside, since its header has a revision."""


def _named_in(text: str) -> str:
    """Return the condition that the JSON text of an event or row names the user."""
    ids = ", ".join(
        f"tupleElement(tupleElement(JSONExtract({text}, 'Tuple({part} Tuple(user_id String))'), 1), 1)"
        for part in ("data", "request")
    )
    return (
        f"arrayExists(one -> one != '' AND lower(hex(substring(SHA256(concat(tenant, '/', one)), 1, 16)))"
        f" = {{user:String}}, [{ids}])"
    )


_LETTER_USER = " OR ".join(_named_in(f"ifNull({column}, '')") for column in ("raw", "correction"))


@dataclass(frozen=True)
class Scope:
    """Which erased requests a question is about: a condition on `erased_requests`."""

    condition: str = "true"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> str:
        """SQL of the keys."""
        return f"SELECT {_KEY} FROM {ERASED_REQUESTS} WHERE {self.condition}"

    @property
    def erased(self) -> str:
        """SQL of the keys, each with all that is erased of it."""
        return (
            f"SELECT {_KEY}, max(version) AS upto, max(appended_at) AS erased_at FROM {ERASED_REQUESTS}"
            f" WHERE ({_KEY}) IN ({self.keys}) GROUP BY {_KEY}"
        )


EVERY = Scope()


def of_erasure(tenant: str, erasure: UUID) -> Scope:
    """Return the requests that one erasure erased."""
    return Scope(_MINE, {"tenant": tenant, "prefix": prefix(erasure)})


def noted_since(moment: str) -> Scope:
    """Return the requests of which the sweep learned since then."""
    return Scope("noted_at >= parseDateTime64BestEffort({noted:String}, 6, 'UTC')", {"noted": moment})


def now() -> Statement:
    """Ask what time it is at ClickHouse's."""
    return Statement("SELECT now64(6, 'UTC') AS now")


def stored(topics: Sequence[str]) -> Statement:
    """Ask how far each partition of these topics is stored."""
    return Statement(
        f"SELECT topic, partition, max(position) AS position FROM {SINK_POSITIONS}"
        " WHERE topic IN {topics:Array(String)} GROUP BY topic, partition",
        {"topics": list(topics)},
    )


def deployments() -> Statement:
    """Ask which Kafka and which generations of topics the tables belong to."""
    return Statement(f"SELECT generation, cluster_id, partitions FROM {DEPLOYMENTS} FINAL")


def erasures(tenant: str | None = None, erasure: UUID | None = None, *, limit: int = 0) -> Statement:
    """Ask for erasures, the newest first: all open ones, or of a tenant one or all."""
    parameters: dict[str, Any] = {"verified": State.VERIFIED}
    condition = "state != {verified:String}"
    if tenant is not None:
        parameters, condition = {"tenant": tenant}, "tenant = {tenant:String}"
    if erasure is not None:
        parameters["id"] = str(erasure)
        condition += " AND id = {id:UUID}"
    most = f" LIMIT {limit:d}" if limit else ""
    return Statement(
        f"SELECT * FROM {ERASURES} FINAL WHERE {condition} ORDER BY asked_at DESC, id{most}", parameters
    )


def named(tenant: str, user: str) -> Statement:
    """Ask for the requests that name a user anywhere and at any time, and are not erased since."""
    return Statement(
        f"SELECT request_id FROM ({_mentions()}) AS found LEFT JOIN ("
        f"SELECT request_id, true AS known, max(version) AS upto, max(appended_at) AS erased_at"
        f" FROM {ERASED_REQUESTS} WHERE tenant = {{tenant:String}} GROUP BY request_id) AS erased"
        " USING request_id GROUP BY request_id HAVING max(NOT known OR"
        " if(isNull(place), failed_at > erased_at, assumeNotNull(place) > upto)) ORDER BY request_id",
        {"tenant": tenant, "user": user},
    )


def _mentions() -> str:
    """Return SQL of every row that names the user: request, place in the order, and for letters the time."""
    never = "toDateTime64(0, 6, 'UTC')"
    return (
        f"SELECT request_id, toNullable(version) AS place, {never} AS failed_at FROM {FEEDBACK_EVENTS}"
        f" WHERE tenant = {{tenant:String}} AND {_USER}"
        f" UNION ALL SELECT request_id, toNullable(version), {never} FROM {FEEDBACK_STATE}"
        f" WHERE tenant = {{tenant:String}} AND {_USER}"
        f" UNION ALL SELECT request_id, {_PLACE}, failed_at FROM {DEAD_LETTERS}"
        f" WHERE tenant = {{tenant:String}} AND request_id != '' AND ({_LETTER_USER})"
    )


def mine(tenant: str, erasure: UUID) -> Statement:
    """Ask for the requests that this erasure has erased, and when that was appended."""
    return Statement(
        f"SELECT request_id, max(appended_at) AS erased_at FROM {ERASED_REQUESTS} WHERE {_MINE}"
        " GROUP BY request_id",
        {"tenant": tenant, "prefix": prefix(erasure)},
    )


def given_up(tenant: str, erasure: UUID) -> Statement:
    """Ask how many of its erase events are stored, and do not count."""
    return Statement(
        f"SELECT count() AS n FROM {FEEDBACK_EVENTS} WHERE op = 'erase' AND {_MINE}"
        f" AND request_id NOT IN (SELECT request_id FROM {ERASED_REQUESTS} WHERE {_MINE})",
        {"tenant": tenant, "prefix": prefix(erasure)},
    )


def count(tenant: str, request_ids: Sequence[str]) -> Statement:
    """Ask how many rows each table has of requests that are to be erased."""
    own = "tenant = {tenant:String} AND request_id IN {ids:Array(String)}"
    return Statement(
        f"SELECT 'feedback' AS name, count() AS n FROM {FEEDBACK_STATE} FINAL WHERE {own}"
        f" UNION ALL SELECT '{FEEDBACK_STATE}', countIf(is_deleted = 0) FROM {FEEDBACK_STATE} WHERE {own}"
        f" UNION ALL SELECT '{FEEDBACK_EVENTS}', countIf(op != 'erase') FROM {FEEDBACK_EVENTS} WHERE {own}"
        f" UNION ALL SELECT '{DEAD_LETTERS}', count() FROM {DEAD_LETTERS} FINAL WHERE {own}",
        {"tenant": tenant, "ids": list(request_ids)},
    )


def gather(generation: int, merged: Mapping[int, int]) -> Statement:
    """Note the erase events that the merger has carried out: below its commits, and no dead letters."""
    partitions = sorted(merged)
    return Statement(
        f"INSERT INTO {ERASED_REQUESTS} (tenant, request_id, version, event_id, appended_at)"
        f" SELECT tenant, request_id, version, event_id, appended_at FROM {FEEDBACK_EVENTS}"
        " WHERE op = 'erase' AND log_offset <"
        " transform(log_partition, {partitions:Array(UInt32)}, {ends:Array(UInt64)}, {first:UInt64})"
        f" AND ({_KEY}, version) NOT IN (SELECT {_KEY}, version FROM {ERASED_REQUESTS})"
        f" AND ({_KEY}, version) NOT IN (SELECT {_KEY}, assumeNotNull(original_version)"
        f" FROM {DEAD_LETTERS} FINAL"
        " WHERE stage = 'merger' AND original_version IS NOT NULL AND replayed_at IS NULL)",
        {
            # An empty list has no type on the server.
            "partitions": partitions or [0],
            "ends": [version_of(generation, merged[one]) for one in partitions]
            or [version_of(generation, 0)],
            "first": version_of(generation, 0),
        },
    )


def gather_states() -> Statement:
    """Note what rows say of erases whose events are gone, as after tables were made anew from topics."""
    return Statement(
        f"INSERT INTO {ERASED_REQUESTS} (tenant, request_id, version, event_id, appended_at)"
        f" SELECT DISTINCT tenant, request_id, erased, toUUID('{UUID(int=0)}'), toDateTime64(0, 3, 'UTC')"
        f" FROM {FEEDBACK_STATE} WHERE is_deleted = 1 AND erased > 0"
        f" AND ({_KEY}) NOT IN (SELECT {_KEY} FROM {ERASED_REQUESTS})"
    )


def _changed(table: str, since: str | None) -> str:
    """Return the condition that rows lie in parts that were written since then."""
    if since is None:
        return "true"
    return (
        "_part IN (SELECT name FROM system.parts WHERE active AND database = currentDatabase()"
        f" AND table = '{table}' AND modification_time >= parseDateTimeBestEffort({{since:String}}, 'UTC'))"
    )


def left_events(scope: Scope, since: str | None = None, limit: int = 100_000) -> Statement:
    """Ask for requests with events at or below their erase: how many, and up to where they are erased."""
    return Statement(
        f"SELECT {_KEY}, any(upto) AS erased, count() AS n FROM {FEEDBACK_EVENTS} AS events"
        f" INNER JOIN ({scope.erased}) AS erases USING ({_KEY}) WHERE op != 'erase' AND version <= upto"
        f" AND ({_KEY}) IN ({scope.keys}) AND {_changed(FEEDBACK_EVENTS, since)}"
        f" GROUP BY {_KEY} ORDER BY {_KEY} LIMIT {limit:d}",
        {**scope.parameters, **_since(since)},
    )


def left_states(scope: Scope, since: str | None = None, limit: int = 100_000) -> Statement:
    """Ask for erased requests that still have older versions of their row, and for the newest revision."""
    return Statement(
        f"SELECT {_KEY}, max(revision) AS erased, countIf(revision < newest) AS n FROM ("
        f"SELECT {_KEY}, revision, max(revision) OVER (PARTITION BY {_KEY}) AS newest FROM {FEEDBACK_STATE}"
        f" WHERE ({_KEY}) IN ({_in_changed(scope, since)}))"
        f" GROUP BY {_KEY} HAVING n > 0 ORDER BY {_KEY} LIMIT {limit:d}",
        {**scope.parameters, **_since(since)},
    )


def _in_changed(scope: Scope, since: str | None) -> str:
    if since is None:
        return scope.keys
    return (
        f"SELECT {_KEY} FROM {FEEDBACK_STATE} WHERE ({_KEY}) IN ({scope.keys})"
        f" AND {_changed(FEEDBACK_STATE, since)}"
    )


def left_letters(scope: Scope, since: str | None = None, limit: int = 100_000) -> Statement:
    """Ask for dead letters at or below the erase of their request."""
    return Statement(
        f"SELECT dlq_topic, dlq_partition, dlq_offset FROM {DEAD_LETTERS} AS letters"
        f" INNER JOIN ({scope.erased}) AS erases USING ({_KEY})"
        f" WHERE ({_KEY}) IN ({scope.keys}) AND {_changed(DEAD_LETTERS, since)}"
        f" AND if(isNull({_PLACE}), failed_at <= erased_at, assumeNotNull({_PLACE}) <= upto)"
        f" GROUP BY dlq_topic, dlq_partition, dlq_offset ORDER BY dlq_topic, dlq_partition, dlq_offset"
        f" LIMIT {limit:d}",
        {**scope.parameters, **_since(since)},
    )


def standing(scope: Scope) -> Statement:
    """Ask how many erased requests have a row that is not newer than their erase."""
    return Statement(
        f"SELECT count() AS n FROM (SELECT {_KEY}, argMax(is_deleted, revision) AS gone,"
        f" argMax(version, revision) AS latest FROM {FEEDBACK_STATE} WHERE ({_KEY}) IN ({scope.keys})"
        f" GROUP BY {_KEY}) AS latest_rows INNER JOIN ({scope.erased}) AS erases USING ({_KEY})"
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
