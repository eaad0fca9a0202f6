"""What is asked of the table of dead letters, and what is written to it.  Pure.

A mark is one more row of the same dead letter, with a later `updated`: the newest row counts.  The sink
dates its rows by the record in the topic, so reading the topic again never takes a mark off.
"""

from base64 import b64encode
from collections.abc import Sequence

from schemas.tables import DEAD_LETTERS, DEPLOYMENTS, FEEDBACK_EVENTS
from services.operations.dlq.core.letters import Id, Letter
from services.operations.dlq.core.selection import Selection, among_ids, condition
from services.runtime.clickhouse.core.statement import SqlParameters, Statement

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


def counts(selection: Selection) -> Statement:
    """Ask how many are selected in each partition, and for the last one of each."""
    places = SqlParameters()
    return Statement(
        f"SELECT dlq_topic, dlq_partition, max(dlq_offset) AS last, count() AS letters"  # noqa: S608
        f" FROM {DEAD_LETTERS} FINAL WHERE {condition(selection, places)} GROUP BY dlq_topic, dlq_partition"
        " ORDER BY dlq_topic, dlq_partition",
        places.parameters,
    )


def newest(selection: Selection, limit: int) -> Statement:
    """Ask for those that failed last; 0 is no limit."""
    places = SqlParameters()
    where = condition(selection, places)
    most = f" LIMIT {places.place(limit, 'UInt64')}" if limit else ""
    return Statement(
        f"SELECT {_SHOWN} FROM {DEAD_LETTERS} FINAL WHERE {where}"  # noqa: S608
        f" ORDER BY failed_at DESC, {_ID}{most}",
        places.parameters,
    )


def page(selection: Selection, after: Id | None, limit: int) -> Statement:
    """Ask for the next ones in the order of their ids."""
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


def contents(ids: Sequence[Id]) -> Statement:
    """Ask for the bytes of these, in base64."""
    places = SqlParameters()
    return Statement(
        f"SELECT {_ID}, base64Encode(key) AS key, base64Encode(raw) AS value,"  # noqa: S608
        f" base64Encode(correction) AS correction FROM {DEAD_LETTERS} FINAL WHERE {among_ids(ids, places)}",
        places.parameters,
    )


def erasures(ids: Sequence[Id]) -> Statement:
    """Ask up to which version the requests of these were erased."""
    places = SqlParameters()
    return Statement(
        f"SELECT tenant, request_id, max(version) AS erased FROM {FEEDBACK_EVENTS}"  # noqa: S608
        f" WHERE op = 'erase' AND (tenant, request_id) IN ({_requests(ids, places)})"
        " GROUP BY tenant, request_id",
        places.parameters,
    )


def newest_copy(letter: Letter) -> Statement:
    """Ask where the newest record of the letter's version stands in the events topic."""
    places = SqlParameters()
    return Statement(
        f"SELECT max(log_offset) AS newest FROM {FEEDBACK_EVENTS}"  # noqa: S608
        f" WHERE tenant = {places.place(letter.tenant, 'String')}"
        f" AND request_id = {places.place(letter.request_id, 'String')}"
        f" AND version = {places.place(letter.original_version or 0, 'UInt64')} HAVING count() > 0",
        places.parameters,
    )


def latest_at_place(ids: Sequence[Id]) -> Statement:
    """Ask for the latest dead letter of the merger at each place in the order that one of these has.

    A replay that is refused becomes a new dead letter with the same version, further on in the log.
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


def _requests(ids: Sequence[Id], places: SqlParameters) -> str:
    return f"SELECT tenant, request_id FROM {DEAD_LETTERS} WHERE {among_ids(ids, places)}"  # noqa: S608


def deployments() -> Statement:
    """Ask which Kafka cluster has which generation of topics, and with how many partitions."""
    return Statement(
        f"SELECT generation, cluster_id, partitions FROM {DEPLOYMENTS} FINAL ORDER BY generation"  # noqa: S608
    )


def mark_replayed(ids: Sequence[Id]) -> Statement:
    """Note that these were put back; whoever had dropped them thought again."""
    return _mark(ids, replayed="now64(6)", dropped="NULL", correction="correction")


def mark_dropped(ids: Sequence[Id]) -> Statement:
    """Note that nobody wants these."""
    return _mark(ids, replayed="replayed_at", dropped="now64(6)", correction="correction")


def mark_open(ids: Sequence[Id]) -> Statement:
    """Take back that these were dropped."""
    return _mark(ids, replayed="replayed_at", dropped="NULL", correction="correction")


def correct(one: Id, body: bytes) -> Statement:
    """Write down the body that is to be replayed instead, unless one is written down already."""
    # Base64 has no character that could end the literal, and a value this long does not fit into an address.
    text = f"base64Decode('{b64encode(body).decode()}')"
    mark = _mark([one], replayed="replayed_at", dropped="dropped_at", correction=text)
    return Statement(f"{mark.sql} AND correction IS NULL", mark.parameters)


def _mark(ids: Sequence[Id], *, replayed: str, dropped: str, correction: str) -> Statement:
    """Write the rows anew.  `updated` grows whatever the clock says."""
    places = SqlParameters()
    return Statement(
        f"INSERT INTO {DEAD_LETTERS} ({_COLUMNS}, replayed_at, dropped_at, correction, updated)"  # noqa: S608
        f" SELECT {_COLUMNS}, {replayed}, {dropped}, {correction},"
        f" greatest(now64(6), addMicroseconds(updated, 1))"
        f" FROM {DEAD_LETTERS} FINAL WHERE {among_ids(ids, places)}",
        places.parameters,
    )
