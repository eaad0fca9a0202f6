"""The truth, worked out the slow way: what the log of events must come to.

Written from the rules and not from the code: it shares nothing with the merge but the shape of an event.
Where the merge changes rows step by step, this keeps every event of a request and works the row out of
all of them.  Give it the whole log of each partition, in the order of offsets:

    truth = Oracle()
    for record in records:
        truth.read(record)
    truth.rows[b"acme/r1"].data == {"rating": 5}
    truth.dead == [(partition, offset, "malformed_event"), ...]
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.events import FeedbackEvent, Op


class LogRecord(Protocol):
    """What a Kafka consumer gives."""

    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102


class Said(NamedTuple):
    """An event that counts, at its version."""

    version: int
    event: FeedbackEvent


@dataclass
class Truth:
    """A row as it must be.  `deleted` rows hold nothing but their version."""

    version: int
    deleted: bool
    first_received_at: datetime | None = None
    last_received_at: datetime | None = None
    sources: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)


@dataclass
class _History:
    """All that happened to one request."""

    said: list[Said] = field(default_factory=list)
    version: int = -1
    forgotten: int = 0
    """How many of `said` came before the latest erase that left nothing."""


class Oracle:
    """Reads a log once and knows every row and dead letter that must come of it."""

    def __init__(self, generation: int = 0, max_keys: int = 1024, max_bytes: int = 4 << 20) -> None:
        self._base = generation * 2**48
        self._max_keys, self._max_bytes = max_keys, max_bytes
        self._histories: dict[bytes, _History] = {}
        self.dead: list[tuple[int, int, str]] = []

    @property
    def rows(self) -> dict[bytes, Truth]:
        """Every row by its key, erased ones included."""
        return {key: _row(history) for key, history in self._histories.items() if history.said}

    def read(self, record: LogRecord) -> None:
        """Take the next record of its partition."""
        if reason := self._reason(record):
            self.dead.append((record.partition, record.offset, reason))

    def _reason(self, record: LogRecord) -> str | None:
        own = self._base + record.offset
        version = _version(record, own)
        if version is None:
            return "invalid_replay"
        event = _event(record)
        if event is None or record.key is None:
            return "malformed_event"
        history = self._histories.setdefault(record.key, _History())
        if version <= _erased(history.said):
            return None
        return self._count(history, Said(version, event))

    def _count(self, history: _History, new: Said) -> str | None:
        for old in _recent(history.said):
            if old.event.event_id == new.event.event_id:
                history.version = max(history.version, new.version)
                return None if _body(old.event) == _body(new.event) else "idempotency_conflict"
        if new.event.op is Op.MERGE and self._overflows([*history.said, new]):
            return "row_too_large"
        history.said.append(new)
        if new.event.op is Op.ERASE and new.version > history.version:
            history.forgotten = len(history.said)
        history.version = max(history.version, new.version)
        return None

    def _overflows(self, said: list[Said]) -> bool:
        keys = total = 0
        for part in ("data", "request"):
            for key, (_, value) in _winners(said, part).items():
                keys += 1
                total += len(key.encode()) + (0 if value is None else len(_text(value)))
        return keys > self._max_keys or total > self._max_bytes


def _row(history: _History) -> Truth:
    said, erased = history.said, _erased(history.said)
    if history.version == erased:
        return Truth(erased, deleted=True)
    seen = [one.event for one in said[history.forgotten :] if one.event.op is not Op.ERASE]
    return Truth(
        history.version,
        deleted=False,
        first_received_at=min(event.received_at for event in seen),
        last_received_at=max(event.received_at for event in seen),
        sources=sorted({event.source for event in seen})[:16],
        data=_shown(said, "data"),
        request=_shown(said, "request"),
    )


def _shown(said: list[Said], part: str) -> dict[str, Any]:
    return {key: value for key, (_, value) in _winners(said, part).items() if value is not None}


def _winners(said: list[Said], part: str) -> dict[str, tuple[int, Any]]:
    """Return the newest (version, value) of each key, null for a cleared one."""
    floor = _erased(said)
    if part == "data":
        floor = max([floor, *(one.version for one in said if one.event.op is Op.RETRACT)])
    newest: dict[str, tuple[int, Any]] = {}
    for version, event in said:
        for key, value in (getattr(event, part) or {}).items():
            if version > floor and version > newest.get(key, (-1, None))[0]:
                newest[key] = (version, value)
    return newest


def _erased(said: list[Said]) -> int:
    return max((one.version for one in said if one.event.op is Op.ERASE), default=-1)


def _recent(said: list[Said]) -> Iterator[Said]:
    floor = _erased(said)
    remembered = {one.version: one for one in said if one.event.idempotent and one.version > floor}
    for version in sorted(remembered)[-8:]:
        yield remembered[version]


def _version(record: LogRecord, own: int) -> int | None:
    """Return the version at which a record counts, None when its replay header is wrong."""
    headers = [value for name, value in record.headers if name == REPLAY_VERSION_HEADER]
    if not headers:
        return own
    text = (headers[0] or b"").decode("latin-1")
    if len(headers) > 1 or not text or set(text) - set("0123456789") or int(text) >= own:
        return None
    return int(text)


def _event(record: LogRecord) -> FeedbackEvent | None:
    try:
        event = FeedbackEvent.model_validate_json(record.value or b"")
    except ValidationError:
        return None
    home = f"{event.tenant}/{event.request_id}".encode()
    return event if home == record.key and event.received_at.tzinfo is not None else None


def _body(event: FeedbackEvent) -> str:
    return _text([event.op, event.data, event.request]).decode()


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
