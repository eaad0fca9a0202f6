"""Which dead letters a command selects, and the SQL statements that read and mark them.

A mark is one more row of the same dead letter, with a later `updated`: the newest row wins.  The sink
sets `updated` to the time of the record in the topic, so reading the topic again never removes a mark.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from schemas.tables import DEAD_LETTERS, DEPLOYMENTS, FEEDBACK_EVENTS
from services.operations.core.times import ago
from services.operations.dlq.core.dead_letter import DeadLetterId, DeadLetterState, StoredDeadLetter
from services.runtime.clickhouse.core.statement import SqlParameters, Statement

moment = ago
"""Parses the times of selections."""


@dataclass(frozen=True, kw_only=True)
class DeadLetterSelection:
    """Which dead letters are selected; an empty tuple or None matches any.

    Times compare with `failed_at`: from `since` on, before `until`.  `upto` has the last dead letter of each
    partition, so that those that arrive while a command runs are not selected.
    """

    ids: tuple[DeadLetterId, ...] = ()
    reasons: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    tenant: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: tuple[DeadLetterState, ...] = (DeadLetterState.OPEN,)
    upto: tuple[DeadLetterId, ...] | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether more than the state is restricted."""
        return replace(self, states=(), upto=None) != DeadLetterSelection(states=())

    def covers(self, letter: StoredDeadLetter) -> bool:
        """Return whether a dead letter is selected: the SQL must agree with this."""
        return (
            (not self.ids or letter.id in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.stages or letter.stage in self.stages)
            and self.tenant in (None, letter.tenant)
            and self.request_id in (None, letter.request_id)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
            and (not self.states or letter.state in self.states)
            and (self.upto is None or any(_is_upto(letter.id, last) for last in self.upto))
        )


def _is_upto(one: DeadLetterId, last: DeadLetterId) -> bool:
    return one[:2] == last[:2] and one.offset <= last.offset


_STATES = {
    DeadLetterState.OPEN: "(replayed_at IS NULL AND dropped_at IS NULL)",
    DeadLetterState.REPLAYED: "(replayed_at IS NOT NULL)",
    DeadLetterState.DROPPED: "(replayed_at IS NULL AND dropped_at IS NOT NULL)",
}


def condition(selection: DeadLetterSelection, places: SqlParameters) -> str:
    """Return the SQL condition of the selection; its values are added to `places`."""
    parts = [
        *_among("reason", selection.reasons, places),
        *_among("stage", selection.stages, places),
        *_equal("tenant", selection.tenant, places),
        *_equal("request_id", selection.request_id, places),
        *_when(">=", selection.since, places),
        *_when("<", selection.until, places),
    ]
    if selection.ids:
        parts.append(among_ids(selection.ids, places))
    if selection.states:
        parts.append("(" + " OR ".join(_STATES[state] for state in selection.states) + ")")
    if selection.upto is not None:
        parts.append(_upto(selection.upto, places))
    return " AND ".join(parts) or "true"


def among_ids(ids: Iterable[DeadLetterId], places: SqlParameters) -> str:
    """Return the SQL condition that a row is one of these dead letters."""
    offsets: dict[tuple[str, int], list[int]] = {}
    for one in ids:
        offsets.setdefault(one[:2], []).append(one.offset)
    parts = [
        f"(dlq_topic = {places.place(topic, 'String')}"
        f" AND dlq_partition = {places.place(partition, 'UInt32')}"
        f" AND dlq_offset IN {places.place(several, 'Array(UInt64)')})"
        for (topic, partition), several in offsets.items()
    ]
    return "(" + " OR ".join(parts or ["false"]) + ")"


def _among(column: str, values: tuple[str, ...], places: SqlParameters) -> list[str]:
    return [f"{column} IN {places.place(list(values), 'Array(String)')}"] if values else []


def _equal(column: str, value: str | None, places: SqlParameters) -> list[str]:
    return [] if value is None else [f"{column} = {places.place(value, 'String')}"]


def _when(comparison: str, moment: datetime | None, places: SqlParameters) -> list[str]:
    if moment is None:
        return []
    microseconds = places.place((moment - _EPOCH) // timedelta(microseconds=1), "Int64")
    return [f"toUnixTimestamp64Micro(failed_at) {comparison} {microseconds}"]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _upto(last: tuple[DeadLetterId, ...], places: SqlParameters) -> str:
    parts = [
        f"(dlq_topic = {places.place(one.topic, 'String')}"
        f" AND dlq_partition = {places.place(one.partition, 'UInt32')}"
        f" AND dlq_offset <= {places.place(one.offset, 'UInt64')})"
        for one in last
    ]
    return "(" + " OR ".join(parts or ["false"]) + ")"


_ID = "dlq_topic, dlq_partition, dlq_offset"
_PLAIN = (
    f"{_ID}, tenant, request_id, stage, reason, detail, original_topic, original_partition, original_offset,"
    " original_version"
)
_COLUMNS = f"{_PLAIN}, failed_at, key, raw"
_SHOWN = ", ".join(
    [
        _PLAIN,
        # Under other names: a name in a condition would mean these instead of the columns.
        *(
            f"toUnixTimestamp64Micro({name}) AS {name}_us"
            for name in ("failed_at", "replayed_at", "dropped_at")
        ),
        "length(raw) AS size",
        "isNotNull(correction) AS corrected",
    ]
)


def counts(selection: DeadLetterSelection) -> Statement:
    """Count the selected ones per partition, with the last offset of each."""
    places = SqlParameters()
    return Statement(
        f"SELECT dlq_topic, dlq_partition, max(dlq_offset) AS last, count() AS letters"  # noqa: S608
        f" FROM {DEAD_LETTERS} FINAL WHERE {condition(selection, places)} GROUP BY dlq_topic, dlq_partition"
        " ORDER BY dlq_topic, dlq_partition",
        places.parameters,
    )


def newest(selection: DeadLetterSelection, limit: int) -> Statement:
    """Select those that failed last, newest first; limit 0 is none."""
    places = SqlParameters()
    where = condition(selection, places)
    most = f" LIMIT {places.place(limit, 'UInt64')}" if limit else ""
    return Statement(
        f"SELECT {_SHOWN} FROM {DEAD_LETTERS} FINAL WHERE {where}"  # noqa: S608
        f" ORDER BY failed_at DESC, {_ID}{most}",
        places.parameters,
    )


def page(selection: DeadLetterSelection, after: DeadLetterId | None, limit: int) -> Statement:
    """Select the next ones behind `after`, in the order of their ids."""
    places = SqlParameters()
    where = condition(selection, places)
    if after is not None:
        topic, partition, offset = after
        where += (
            f" AND ({_ID}) > ({places.place(topic, 'String')}, {places.place(partition, 'UInt32')},"
            f" {places.place(offset, 'UInt64')})"
        )
    return Statement(
        f"SELECT {_SHOWN} FROM {DEAD_LETTERS} FINAL WHERE {where} ORDER BY {_ID}"  # noqa: S608
        f" LIMIT {places.place(limit, 'UInt64')}",
        places.parameters,
    )


def contents(ids: Sequence[DeadLetterId]) -> Statement:
    """Select the bytes of these, in base64."""
    places = SqlParameters()
    return Statement(
        f"SELECT {_ID}, base64Encode(key) AS key, base64Encode(raw) AS value,"  # noqa: S608
        f" base64Encode(correction) AS correction FROM {DEAD_LETTERS} FINAL WHERE {among_ids(ids, places)}",
        places.parameters,
    )


def erasures(ids: Sequence[DeadLetterId]) -> Statement:
    """Select up to which version the requests of these were erased."""
    places = SqlParameters()
    return Statement(
        f"SELECT tenant, request_id, max(version) AS erased FROM {FEEDBACK_EVENTS}"  # noqa: S608
        f" WHERE op = 'erase' AND (tenant, request_id) IN ({_requests(ids, places)})"
        " GROUP BY tenant, request_id",
        places.parameters,
    )


def newest_copy(letter: StoredDeadLetter) -> Statement:
    """Select the position of the newest record with the version of a dead letter."""
    places = SqlParameters()
    return Statement(
        f"SELECT max(log_offset) AS newest FROM {FEEDBACK_EVENTS}"  # noqa: S608
        f" WHERE tenant = {places.place(letter.tenant, 'String')}"
        f" AND request_id = {places.place(letter.request_id, 'String')}"
        f" AND version = {places.place(letter.original_version or 0, 'UInt64')} HAVING count() > 0",
        places.parameters,
    )


def latest_at_place(ids: Sequence[DeadLetterId]) -> Statement:
    """Select the latest dead letter of the merger per version of a request that one of these has.

    A replay that is refused becomes a new dead letter with the same version and a later offset.
    """
    places = SqlParameters()
    generation = "toUInt16OrZero(extract(dlq_topic, '-v([0-9]+)$'))"
    return Statement(
        "SELECT tenant, request_id, original_version,"  # noqa: S608
        " min(toUnixTimestamp64Micro(failed_at)) AS first_failed_at,"
        f" argMax(tuple({_ID}), tuple({generation}, dlq_offset)) AS latest FROM {DEAD_LETTERS} FINAL"
        f" WHERE stage = 'merger' AND (tenant, request_id) IN ({_requests(ids, places)})"
        " GROUP BY tenant, request_id, original_version",
        places.parameters,
    )


def _requests(ids: Sequence[DeadLetterId], places: SqlParameters) -> str:
    return f"SELECT tenant, request_id FROM {DEAD_LETTERS} WHERE {among_ids(ids, places)}"  # noqa: S608


def deployments() -> Statement:
    """Select the Kafka cluster and the number of partitions of each generation of topics."""
    return Statement(
        f"SELECT generation, cluster_id, partitions FROM {DEPLOYMENTS} FINAL ORDER BY generation"  # noqa: S608
    )


def mark_replayed(ids: Sequence[DeadLetterId]) -> Statement:
    """Mark these as replayed, and no longer as dropped."""
    return _mark(ids, replayed="now64(6)", dropped="NULL", correction="correction")


def mark_dropped(ids: Sequence[DeadLetterId]) -> Statement:
    """Mark these as dropped."""
    return _mark(ids, replayed="replayed_at", dropped="now64(6)", correction="correction")


def mark_open(ids: Sequence[DeadLetterId]) -> Statement:
    """Mark these as no longer dropped."""
    return _mark(ids, replayed="replayed_at", dropped="NULL", correction="correction")


def correct(letter_id: DeadLetterId, body: bytes) -> Statement:
    """Store a corrected body of a dead letter, unless one is stored already."""
    # Base64 has no character that could end the literal, and a value this long does not fit into an address.
    text = f"base64Decode('{b64encode(body).decode()}')"
    mark = _mark([letter_id], replayed="replayed_at", dropped="dropped_at", correction=text)
    return Statement(f"{mark.sql} AND correction IS NULL", mark.parameters)


def _mark(ids: Sequence[DeadLetterId], *, replayed: str, dropped: str, correction: str) -> Statement:
    """Write the rows again with a later `updated`, whatever the clock is."""
    places = SqlParameters()
    return Statement(
        f"INSERT INTO {DEAD_LETTERS} ({_COLUMNS}, replayed_at, dropped_at, correction, updated)"  # noqa: S608
        f" SELECT {_COLUMNS}, {replayed}, {dropped}, {correction},"
        f" greatest(now64(6), addMicroseconds(updated, 1))"
        f" FROM {DEAD_LETTERS} FINAL WHERE {among_ids(ids, places)}",
        places.parameters,
    )
