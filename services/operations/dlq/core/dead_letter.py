"""A dead letter as a row of its table, its id on the command line, and the advice for its reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from schemas.deadletters import Reason
from services.query.reads.core import dead_letters as reading


class DeadLetterId(NamedTuple):
    """Topic, partition and offset of a dead letter: `<topic>/<partition>/<offset>`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


_ID = re.compile(r"([a-zA-Z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})", re.ASCII)


def parse_id(text: str) -> DeadLetterId:
    """Return the id in a text; ValueError."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not an id of a dead letter: <topic>/<partition>/<offset>, as `list` shows it"
        )
    return DeadLetterId(match[1], int(match[2]), int(match[3]))


class DeadLetterState(StrEnum):
    """Open, replayed or dropped."""

    OPEN = "open"
    REPLAYED = "replayed"
    DROPPED = "dropped"


@dataclass(frozen=True, kw_only=True)
class StoredDeadLetter:
    """A row of `dead_letters` without its bytes; `size` is None for a null value.

    `corrected`: another body is stored, to be replayed instead of the original one.
    """

    id: DeadLetterId
    tenant: str
    request_id: str
    stage: str
    reason: str
    detail: str
    original_topic: str
    original_partition: int
    original_offset: int
    original_version: int | None
    failed_at: datetime
    size: int | None
    replayed_at: datetime | None = None
    dropped_at: datetime | None = None
    corrected: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the dead letter of a row whose times are microseconds since 1970."""
        values = {name: value for name, value in row.items() if not name.startswith("dlq_")}
        times = {
            name: _instant(values.pop(f"{name}_us")) for name in ("failed_at", "replayed_at", "dropped_at")
        }
        place = DeadLetterId(row["dlq_topic"], row["dlq_partition"], row["dlq_offset"])
        return cls(**{**values, **times, "id": place, "corrected": bool(row["corrected"])})

    @property
    def state(self) -> DeadLetterState:
        """The state after the latest operation."""
        if self.replayed_at is not None:
            return DeadLetterState.REPLAYED
        return DeadLetterState.OPEN if self.dropped_at is None else DeadLetterState.DROPPED


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime.fromtimestamp(microseconds / 1e6, UTC)


class DeadLetterContent(NamedTuple):
    """Key and value of a dead letter, byte for byte, and its corrected body, if one is stored."""

    key: bytes
    value: bytes | None
    correction: bytes | None = None


class Advice(NamedTuple):
    """What happened, and what an operator can do."""

    meaning: str
    to_do: str


TO_DO = MappingProxyType(
    {
        Reason.MALFORMED_EVENT: (
            "Find out which program wrote it: ingest does not. Replay it with a corrected body, or drop it."
        ),
        Reason.INVALID_REPLAY: (
            "Drop it. The record that it was made from is a dead letter of its own: replay that one."
        ),
        Reason.IDEMPOTENCY_CONFLICT: (
            "Drop it if the first body was meant. If both were, replay it with `--as-new-events`."
        ),
        Reason.ROW_TOO_LARGE: ("Replay it with a smaller body, or as it is once its row has become smaller."),
        Reason.DAMAGED_STATE: (
            "Stop the mergers, fix the state with `afterword rebuild --state`, start them, and replay it."
        ),
        Reason.CRASHED: (
            "Report it: this is a bug. Once the merger that runs has the fix, replay it by its id."
        ),
        Reason.REFUSED_BY_CLICKHOUSE: (
            "Bring the tables up to date with `afterword migrate`, then replay it."
        ),
    }
)
UNKNOWN = "Inspect its bytes: what is worth keeping can be sent again over HTTP. Then drop it."


def advice(reason: str) -> Advice:
    """Return the advice for a reason, known or not."""
    meaning, _ = reading.advice(reason)
    return Advice(meaning, TO_DO[Reason(reason)] if reason in frozenset(Reason) else UNKNOWN)
