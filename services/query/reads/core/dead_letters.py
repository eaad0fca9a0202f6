"""Dead letters of a tenant: statements, cursors, and each record with its meaning and advice.

Dead letters whose key names no tenant are in SQL only.  Of a request that was erased since, the raw bytes
and the detail are hidden.
"""

import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from schemas.deadletters import Reason, Stage
from schemas.limits import MIB
from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS
from services.query.core.problems import ParamFault, invalid
from services.query.reads.core.sql import moment
from services.runtime.clickhouse.core.statement import SqlParameters, Statement

ADVICE: dict[str, tuple[str, str]] = {
    Reason.MALFORMED_EVENT: (
        "The record is not an event, or its key and its body disagree.",
        "Find the program that wrote it: ingest does not. Replay it with a corrected body, or drop it.",
    ),
    Reason.INVALID_REPLAY: (
        "The record is marked as a replay, but names no valid original offset.",
        "Drop it. The record that it was made from is a dead letter, too: replay that one.",
    ),
    Reason.IDEMPOTENCY_CONFLICT: (
        "An Idempotency-Key was reused with a different body. The first body was kept.",
        "If the second body was intended, send it again with a new key. Otherwise drop it.",
    ),
    Reason.ROW_TOO_LARGE: (
        "With this event, the request would exceed the limit of keys or bytes of a row.",
        "Replay it with a smaller body, or drop it; and send less about one request.",
    ),
    Reason.DAMAGED_STATE: (
        "The state of the request in the state topic is damaged, so nothing can be merged into it.",
        "Stop the mergers, repair the state with `afterword rebuild --state`, start them, and replay it.",
    ),
    Reason.CRASHED: (
        "The merger crashed repeatedly while it merged this record, and dead-lettered it.",
        "This is a bug of Afterword: please report it. Once the merger is fixed, replay it.",
    ),
    Reason.REFUSED_BY_CLICKHOUSE: (
        "ClickHouse rejects the row on every attempt.",
        "Bring the tables up to date with `afterword migrate`, then replay it.",
    ),
}
"""The meaning of each reason, and what to do."""

UNKNOWN = (
    "Its headers are not Afterword's, so the reason is unknown.",
    "Another program wrote to the dead-letter topic; its content may tell which.",
)


def advice(reason: str) -> tuple[str, str]:
    """Return the meaning of a reason, and what to do."""
    return ADVICE.get(reason, UNKNOWN)


Row = Mapping[str, Any]

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
DEFAULT_RAW_BYTES, MAX_RAW_BYTES = 16 << 10, 10 * MIB
MAX_ANSWER_BYTES = 64 * MIB
"""The most raw bytes in one answer."""

STAGES = tuple(Stage)
REASONS = tuple(Reason)


class LetterStatus(StrEnum):
    """Whether an operator replayed or dropped a dead letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DROPPED = "dropped"


_STATES = {
    LetterStatus.OPEN: "replayed_at IS NULL AND dropped_at IS NULL",
    LetterStatus.REPLAYED: "replayed_at IS NOT NULL",
    LetterStatus.DROPPED: "replayed_at IS NULL AND dropped_at IS NOT NULL",
}


@dataclass(frozen=True)
class DeadLetterFilter:
    """Filters of dead letters, all of which have to match; `failed_at` is from `since` to before `until`."""

    stage: str = ""
    reason: str = ""
    state: str = ""
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


class DeadLetterPosition(NamedTuple):
    """A position in the order of dead letters, newest first."""

    failed_at: str
    topic: str
    partition: int
    offset: int


_ID = "dlq_topic, dlq_partition, dlq_offset"
_SHOWN = (
    f"{_ID}, request_id, stage, reason, detail, original_topic, original_partition, original_offset, "
    "original_version, failed_at, replayed_at, dropped_at, length(raw) AS raw_bytes, "
    "if(stage = 'sink', JSONExtractUInt(ifNull(raw, ''), 'version'), 0) AS row_version"
)
_ORDER = "failed_at DESC, dlq_topic, dlq_partition, dlq_offset DESC"
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?Z?", re.ASCII)
BROKEN = "it is not the `next_cursor` of a page of dead letters"


def page_statement(
    tenant: str, asked: DeadLetterFilter, limit: int, raw_bytes: int, after: DeadLetterPosition | None
) -> Statement:
    """Return the statement for the dead letters after a position, newest first.

    The subquery selects them without their raw bytes, which are then read for these only.
    """
    places = SqlParameters()
    own = f"{DEAD_LETTERS} FINAL PREWHERE tenant = {places.tenant(tenant)}"
    condition = " AND ".join(_conditions(asked, after, places)) or "1"
    shown = f"substring(ifNull(raw, ''), 1, {places.place(raw_bytes, 'UInt32')})"
    return Statement(
        f"SELECT {_SHOWN}, if(isNull(raw), NULL, base64Encode({shown})) AS shown_base64 "
        f"FROM {own} WHERE ({_ID}) IN (SELECT {_ID} FROM {own} WHERE {condition} "
        f"ORDER BY {_ORDER} LIMIT {places.place(limit, 'UInt32')}) ORDER BY {_ORDER}",
        places.parameters,
    )


def counts_statement(tenant: str) -> Statement:
    """Return the statement that counts open dead letters by reason, with the latest failure of each."""
    return Statement(
        f"SELECT reason, count() AS letters, max(failed_at) AS newest FROM {DEAD_LETTERS} FINAL "
        f"PREWHERE tenant = {{tenant:String}} WHERE {_STATES[LetterStatus.OPEN]} "
        "GROUP BY reason ORDER BY letters DESC, reason",
        {"tenant": tenant},
    )


def erased_statement(tenant: str, request_ids: list[str]) -> Statement:
    """Return the statement for the version up to which each of these requests was erased."""
    return Statement(
        f"SELECT request_id, max(version) AS erased FROM {FEEDBACK_EVENTS} WHERE tenant = {{tenant:String}} "
        "AND request_id IN {request_ids:Array(String)} AND op = 'erase' GROUP BY request_id",
        {"tenant": tenant, "request_ids": request_ids},
    )


def _conditions(
    asked: DeadLetterFilter, after: DeadLetterPosition | None, places: SqlParameters
) -> list[str]:
    equal = {"stage": asked.stage, "reason": asked.reason, "request_id": asked.request_id}
    found = [f"{column} = {places.place(value, 'String')}" for column, value in equal.items() if value]
    if asked.state:
        found.append(f"({_STATES[LetterStatus(asked.state)]})")
    for value, sign in ((asked.since, ">="), (asked.until, "<")):
        if value is not None:
            found.append(f"failed_at {sign} {places.place(moment(value), _KIND)}")
    if after is not None:
        found.append(_after(after, places))
    return found


_KIND = "DateTime64(6, 'UTC')"


def _after(position: DeadLetterPosition, places: SqlParameters) -> str:
    failed_at = places.place(position.failed_at.replace("T", " ").removesuffix("Z"), _KIND)
    topic = places.place(position.topic, "String")
    partition, offset = places.place(position.partition, "UInt32"), places.place(position.offset, "UInt64")
    return (
        f"(failed_at < {failed_at} OR (failed_at = {failed_at} AND (dlq_topic > {topic} OR "
        f"(dlq_topic = {topic} AND (dlq_partition > {partition} OR "
        f"(dlq_partition = {partition} AND dlq_offset < {offset}))))))"
    )


def position_of(row: Row) -> DeadLetterPosition:
    """Return the position of a dead letter."""
    return DeadLetterPosition(row["failed_at"], row["dlq_topic"], row["dlq_partition"], row["dlq_offset"])


def encode(position: DeadLetterPosition) -> str:
    """Return the cursor of a page that ends at a position."""
    return urlsafe_b64encode(orjson.dumps(list(position))).decode().rstrip("=")


def decode(cursor: str) -> DeadLetterPosition:
    """Return the position in a cursor; raise QueryProblem if it is invalid."""
    try:
        content: Any = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        position = DeadLetterPosition(*content)
        fits = _is_time(position.failed_at) and _are_numbers(position) and type(position.topic) is str
    except (ValueError, TypeError):
        fits = False
    if not fits:
        raise invalid(ParamFault("cursor", BROKEN))
    return position


def _is_time(text: str) -> bool:
    # Of any year: a walk has to continue after every stored dead letter.
    return bool(_TIME.fullmatch(text) and datetime.fromisoformat(text))


def _are_numbers(position: DeadLetterPosition) -> bool:
    partition, offset = position.partition, position.offset
    return type(partition) is type(offset) is int and 0 <= partition < 2**32 and 0 <= offset < 2**63


def item(row: Row, erased: int | None = None) -> dict[str, Any]:
    """Return a dead letter as JSON; `erased` is the version up to which its request was erased."""
    meaning, to_do = advice(row["reason"])
    version = row["row_version"] or row["original_version"]
    hidden = erased is not None and (version is None or version <= erased)
    return {
        "id": f"{row['dlq_topic']}/{row['dlq_partition']}/{row['dlq_offset']}",
        "request_id": row["request_id"],
        "state": _state(row),
        "stage": row["stage"],
        "reason": row["reason"],
        "detail": "" if hidden else row["detail"],
        "meaning": meaning,
        "advice": to_do,
        "original_topic": row["original_topic"],
        "original_partition": row["original_partition"],
        "original_offset": row["original_offset"],
        "original_version": None if row["original_version"] is None else str(row["original_version"]),
        "failed_at": row["failed_at"],
        "replayed_at": row["replayed_at"],
        "dropped_at": row["dropped_at"],
        "erased": hidden,
        "raw_bytes": row["raw_bytes"],
        **(_NOTHING if hidden or row["shown_base64"] is None else _shown(row)),
    }


_NOTHING = {"raw": None, "raw_encoding": None, "raw_truncated": False}


def _state(row: Row) -> LetterStatus:
    if row["replayed_at"] is not None:
        return LetterStatus.REPLAYED
    return LetterStatus.OPEN if row["dropped_at"] is None else LetterStatus.DROPPED


def _shown(row: Row) -> dict[str, Any]:
    raw = b64decode(row["shown_base64"])
    truncated = len(raw) < row["raw_bytes"]
    text = _text(raw, truncated=truncated)
    encoding = "base64" if text is None else "utf-8"
    return {
        "raw": b64encode(raw).decode() if text is None else text,
        "raw_encoding": encoding,
        "raw_truncated": truncated,
    }


def _text(raw: bytes, *, truncated: bool) -> str | None:
    """Return the bytes as text, or None if they are not UTF-8; a character cut by truncation is dropped."""
    for cut in range(4 if truncated else 1):
        try:
            return raw[: len(raw) - cut].decode()
        except UnicodeDecodeError:
            continue
    return None
