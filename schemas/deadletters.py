"""Dead letters: what could not be processed, why, and its original position.

A dead letter's key and value are the original ones.  Its headers have the rest; all of them are
UTF-8 text.  A replay puts the record back with `REPLAY_VERSION_HEADER`, so it takes its original
place in the order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

REPLAY_VERSION_HEADER = "afterword-replay-version"
"""Decimal text: the version that a replayed event had at first.  Only Afterword's own tools set it."""

STAGE, REASON, DETAIL = "afterword-stage", "afterword-reason", "afterword-detail"
ORIGINAL_TOPIC, ORIGINAL_PARTITION = "afterword-original-topic", "afterword-original-partition"
ORIGINAL_OFFSET, ORIGINAL_VERSION = "afterword-original-offset", "afterword-original-version"
FAILED_AT = "afterword-failed-at"

MAX_DETAIL_CHARACTERS = 2_000


class Stage(StrEnum):
    """Who gave the record up."""

    MERGER = "merger"
    SINK = "sink"


class Reason(StrEnum):
    """Why a record was dead-lettered.  One closed list for headers, logs, metrics and SQL."""

    MALFORMED_EVENT = "malformed_event"
    """The value is not an event, or its key and its body disagree."""
    INVALID_REPLAY = "invalid_replay"
    """A replay header that is no version, or one not below the record's own."""
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    """An Idempotency-Key was used again for another body; the first one counts."""
    ROW_TOO_LARGE = "row_too_large"
    """The event would take its row past the keys or bytes that a row may have."""
    DAMAGED_STATE = "damaged_state"
    """The state that the event belongs to is damaged: its request waits until that is fixed."""
    CRASHED = "crashed"
    """The event ended the process again and again."""
    REFUSED_BY_CLICKHOUSE = "refused_by_clickhouse"
    """ClickHouse does not take the row, however often it is sent."""


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A dead letter's headers.  `failed_at` is RFC 3339 UTC; `original_version` None if unknown."""

    stage: Stage
    reason: Reason
    detail: str
    original_topic: str
    original_partition: int
    original_offset: int
    original_version: int | None
    failed_at: str


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes]]:
    """Return the Kafka headers of a dead letter."""
    texts = {
        STAGE: letter.stage.value,
        REASON: letter.reason.value,
        DETAIL: letter.detail[:MAX_DETAIL_CHARACTERS],
        ORIGINAL_TOPIC: letter.original_topic,
        ORIGINAL_PARTITION: str(letter.original_partition),
        ORIGINAL_OFFSET: str(letter.original_offset),
        ORIGINAL_VERSION: "" if letter.original_version is None else str(letter.original_version),
        FAILED_AT: letter.failed_at,
    }
    return [(name, text.encode(errors="backslashreplace")) for name, text in texts.items()]


def parse_headers(headers: Iterable[tuple[str, bytes | None]]) -> DeadLetter:
    """Return the content of a dead letter's headers; ValueError if they are not Afterword's."""
    texts = {name: (value or b"").decode() for name, value in headers}
    try:
        return DeadLetter(
            stage=Stage(texts[STAGE]),
            reason=Reason(texts[REASON]),
            detail=texts.get(DETAIL, ""),
            original_topic=texts[ORIGINAL_TOPIC],
            original_partition=int(texts[ORIGINAL_PARTITION]),
            original_offset=int(texts[ORIGINAL_OFFSET]),
            original_version=int(version) if (version := texts.get(ORIGINAL_VERSION)) else None,
            failed_at=texts[FAILED_AT],
        )
    except KeyError as error:
        raise ValueError(f"the dead letter has no header {error}") from error
