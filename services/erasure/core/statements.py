"""What is asked of ClickHouse about erasures, and about whom they concern.  Pure: SQL, values beside it."""

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
)
from services.erasure.core.erasures import PREFIX_CHARACTERS, ErasureState, prefix
from services.runtime.clickhouse.core.statement import Statement

_MINE = (
    "tenant = {tenant:String}"
    f" AND substring(toString(event_id), 1, {PREFIX_CHARACTERS}) = {{prefix:String}}"
)
KEY = "tenant, request_id"
_USER = "has(user_hashes, toFixedString(unhex({user:String}), 16))"
PLACE = (
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
class ErasureScope:
    """Which erased requests a question is about: a condition on `erased_requests`."""

    condition: str = "true"
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> str:
        """SQL of the keys."""
        return f"SELECT {KEY} FROM {ERASED_REQUESTS} WHERE {self.condition}"

    @property
    def erased(self) -> str:
        """SQL of the keys, each with all that is erased of it."""
        return (
            f"SELECT {KEY}, max(version) AS upto, max(appended_at) AS erased_at FROM {ERASED_REQUESTS}"
            f" WHERE ({KEY}) IN ({self.keys}) GROUP BY {KEY}"
        )


EVERY = ErasureScope()


def of_erasure(tenant: str, erasure: UUID) -> ErasureScope:
    """Return the requests that one erasure erased."""
    return ErasureScope(_MINE, {"tenant": tenant, "prefix": prefix(erasure)})


def noted_since(moment: str) -> ErasureScope:
    """Return the requests of which the sweep learned since then."""
    return ErasureScope("noted_at >= parseDateTime64BestEffort({noted:String}, 6, 'UTC')", {"noted": moment})


def now() -> Statement:
    """Ask what time it is at ClickHouse's."""
    return Statement("SELECT now64(6, 'UTC') AS now")


def deployments() -> Statement:
    """Ask which Kafka and which generations of topics the tables belong to."""
    return Statement(f"SELECT generation, cluster_id, partitions FROM {DEPLOYMENTS} FINAL")


def erasures(tenant: str | None = None, erasure: UUID | None = None, *, limit: int = 0) -> Statement:
    """Ask for erasures, the newest first: all open ones, or of a tenant one or all."""
    parameters: dict[str, Any] = {"verified": ErasureState.VERIFIED}
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
        f" UNION ALL SELECT request_id, {PLACE}, failed_at FROM {DEAD_LETTERS}"
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
        f" AND ({KEY}, version) NOT IN (SELECT {KEY}, version FROM {ERASED_REQUESTS})"
        f" AND ({KEY}, version) NOT IN (SELECT {KEY}, assumeNotNull(original_version)"
        f" FROM {DEAD_LETTERS} FINAL"
        " WHERE stage = 'merger' AND original_version IS NOT NULL AND replayed_at IS NULL)",
        {
            # An empty list has no type on the server.
            "partitions": partitions or [0],
            "ends": [version_of(generation, merged[partition]) for partition in partitions]
            or [version_of(generation, 0)],
            "first": version_of(generation, 0),
        },
    )


def gather_states() -> Statement:
    """Record erases from rows whose events are gone, as after tables were rebuilt from topics."""
    return Statement(
        f"INSERT INTO {ERASED_REQUESTS} (tenant, request_id, version, event_id, appended_at)"
        f" SELECT DISTINCT tenant, request_id, erased, toUUID('{UUID(int=0)}'), toDateTime64(0, 3, 'UTC')"
        f" FROM {FEEDBACK_STATE} WHERE is_deleted = 1 AND erased > 0"
        f" AND ({KEY}) NOT IN (SELECT {KEY} FROM {ERASED_REQUESTS})"
    )
