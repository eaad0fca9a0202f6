"""Dead letters of a tenant, in pages: what could not be processed, why, and its bytes.  Pure.

Those whose key names no tenant belong to nobody who has a key: only SQL shows them.  What was erased since
is not shown again: of such a dead letter only the circumstances are.
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
from services.query.core.problems import Fault, invalid
from services.query.reads.core.advice import advice
from services.query.reads.core.sql import moment
from services.runtime.clickhouse.core.statement import SqlParameters, Statement

Row = Mapping[str, Any]

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
DEFAULT_RAW_BYTES, MAX_RAW_BYTES = 16 << 10, 10 * MIB
MAX_ANSWER_BYTES = 64 * MIB
"""Of raw bytes that one answer may show."""

STAGES = tuple(Stage)
REASONS = tuple(Reason)


class State(StrEnum):
    """What people did about a dead letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DROPPED = "dropped"


_STATES = {
    State.OPEN: "replayed_at IS NULL AND dropped_at IS NULL",
    State.REPLAYED: "replayed_at IS NOT NULL",
    State.DROPPED: "replayed_at IS NULL AND dropped_at IS NOT NULL",
}


@dataclass(frozen=True)
class Asked:
    """Which dead letters: all conditions hold.  Times are about `failed_at`: from `since`, before `until`."""

    stage: str = ""
    reason: str = ""
    state: str = ""
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


class Position(NamedTuple):
    """A place in the order of dead letters: the newest first."""

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
    tenant: str, asked: Asked, limit: int, raw_bytes: int, after: Position | None
) -> Statement:
    """Ask for the dead letters after a position, newest first.

    Which ones these are is found without their bytes, and nobody else's are read.
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
    """Ask how many dead letters are open, by reason, and when the last one of each failed."""
    return Statement(
        f"SELECT reason, count() AS letters, max(failed_at) AS newest FROM {DEAD_LETTERS} FINAL "
        f"PREWHERE tenant = {{tenant:String}} WHERE {_STATES[State.OPEN]} "
        "GROUP BY reason ORDER BY letters DESC, reason",
        {"tenant": tenant},
    )


def erased_statement(tenant: str, request_ids: list[str]) -> Statement:
    """Ask up to which version each of these requests was erased."""
    return Statement(
        f"SELECT request_id, max(version) AS erased FROM {FEEDBACK_EVENTS} WHERE tenant = {{tenant:String}} "
        "AND request_id IN {request_ids:Array(String)} AND op = 'erase' GROUP BY request_id",
        {"tenant": tenant, "request_ids": request_ids},
    )


def _conditions(asked: Asked, after: Position | None, places: SqlParameters) -> list[str]:
    equal = {"stage": asked.stage, "reason": asked.reason, "request_id": asked.request_id}
    found = [f"{column} = {places.place(value, 'String')}" for column, value in equal.items() if value]
    if asked.state:
        found.append(f"({_STATES[State(asked.state)]})")
    for value, sign in ((asked.since, ">="), (asked.until, "<")):
        if value is not None:
            found.append(f"failed_at {sign} {places.place(moment(value), _KIND)}")
    if after is not None:
        found.append(_after(after, places))
    return found


_KIND = "DateTime64(6, 'UTC')"


def _after(position: Position, places: SqlParameters) -> str:
    failed_at = places.place(position.failed_at.replace("T", " ").removesuffix("Z"), _KIND)
    topic = places.place(position.topic, "String")
    partition, offset = places.place(position.partition, "UInt32"), places.place(position.offset, "UInt64")
    return (
        f"(failed_at < {failed_at} OR (failed_at = {failed_at} AND (dlq_topic > {topic} OR "
        f"(dlq_topic = {topic} AND (dlq_partition > {partition} OR "
        f"(dlq_partition = {partition} AND dlq_offset < {offset}))))))"
    )


def position_of(row: Row) -> Position:
    """Return where a dead letter stands in the order."""
    return Position(row["failed_at"], row["dlq_topic"], row["dlq_partition"], row["dlq_offset"])


def encode(position: Position) -> str:
    """Return the cursor of a page that ended there."""
    return urlsafe_b64encode(orjson.dumps(list(position))).decode().rstrip("=")


def decode(cursor: str) -> Position:
    """Return where the page ended; raise Problem for what is no cursor of ours."""
    try:
        content: Any = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        position = Position(*content)
        fits = _is_time(position.failed_at) and _are_numbers(position) and type(position.topic) is str
    except (ValueError, TypeError):
        fits = False
    if not fits:
        raise invalid(Fault("cursor", BROKEN))
    return position


def _is_time(text: str) -> bool:
    # Of any year: a walk goes on behind every letter that is stored.
    return bool(_TIME.fullmatch(text) and datetime.fromisoformat(text))


def _are_numbers(position: Position) -> bool:
    partition, offset = position.partition, position.offset
    return type(partition) is type(offset) is int and 0 <= partition < 2**32 and 0 <= offset < 2**63


def item(row: Row, erased: int | None = None) -> dict[str, Any]:
    """Return a dead letter as readers get it; `erased` is the version up to which its request was erased."""
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


def _state(row: Row) -> State:
    if row["replayed_at"] is not None:
        return State.REPLAYED
    return State.OPEN if row["dropped_at"] is None else State.DROPPED


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
    """Return the bytes as text, None when they are none; where they were cut, a cut character is left out."""
    for cut in range(4 if truncated else 1):
        try:
            return raw[: len(raw) - cut].decode()
        except UnicodeDecodeError:
            continue
    return None
