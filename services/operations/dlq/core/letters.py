"""A dead letter as the table has it, and its name on the command line.  Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self


class Id(NamedTuple):
    """Where a dead letter stands: `<topic>/<partition>/<offset>`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


_ID = re.compile(r"([a-zA-Z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})", re.ASCII)


def parse_id(text: str) -> Id:
    """Return the id that a text names; ValueError when it is none."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no dead letter: an id is <topic>/<partition>/<offset>, as `list` shows it"
        )
    return Id(match[1], int(match[2]), int(match[3]))


class State(StrEnum):
    """What became of a dead letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DROPPED = "dropped"


@dataclass(frozen=True, kw_only=True)
class Letter:
    """All but the bytes.  Names as in the table `dead_letters`; `size` is None for a null value.

    `corrected` tells whether a body was written down to be replayed instead of the original one.
    """

    id: Id
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
        """Return the letter of a row whose times are microseconds since 1970."""
        values = {name: value for name, value in row.items() if not name.startswith("dlq_")}
        times = {
            name: _instant(values.pop(f"{name}_us")) for name in ("failed_at", "replayed_at", "dropped_at")
        }
        place = Id(row["dlq_topic"], row["dlq_partition"], row["dlq_offset"])
        return cls(**{**values, **times, "id": place, "corrected": bool(row["corrected"])})

    @property
    def state(self) -> State:
        """What became of it: the latest act counts."""
        if self.replayed_at is not None:
            return State.REPLAYED
        return State.OPEN if self.dropped_at is None else State.DROPPED


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime.fromtimestamp(microseconds / 1e6, UTC)


class Bytes(NamedTuple):
    """What a dead letter held, byte for byte, and the body that was written down to replace it, if any."""

    key: bytes
    value: bytes | None
    correction: bytes | None = None
