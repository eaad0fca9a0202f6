"""Folds a batch of records into rows and dead letters, and decides whether the dead letters are too many.

The whole content of a transaction is known before anything is sent.  Too many broken events stop the merger,
so that a bad deployment does not drain the log into the dead letters; offsets count as events there, since
ingest leaves no gaps in the log.  What a client can cause on purpose, such as a conflict of Idempotency-Keys,
does not count as broken.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from schemas.deadletters import Reason
from schemas.identity import is_request_id, is_tenant, partition_of, version_of
from schemas.limits import MAX_ROW_BYTES, MAX_ROW_KEYS
from services.merger.core import state as states
from services.merger.core.admission import LIMITS, REASONS, Outcome, RowLimits, WorkingRow, consume
from services.merger.core.events import DecodedEvent, Poison, decode, version_in_order
from services.merger.core.state import Damaged
from services.runtime.kafka.core.records import Record


class SourcePartition(NamedTuple):
    """The partition of the events that records come from, and the topic's number of partitions."""

    topic: str
    generation: int
    partition: int
    partitions: int


class DeadLetterRecord(NamedTuple):
    """A record to be dead-lettered, and the version at which it counts."""

    record: Record
    version: int
    reason: Reason
    detail: str


class NewRow(NamedTuple):
    """A row to be sent, with the append time of its newest event as timestamp, in milliseconds."""

    value: bytes
    timestamp: int


class Folded(NamedTuple):
    """The result of a batch."""

    rows: dict[bytes, NewRow]
    letters: list[DeadLetterRecord]
    outcomes: Counter[Outcome]


def keys_of(records: Iterable[Record]) -> list[bytes]:
    """Return the distinct keys of the records, sorted: a store reads neighbours together."""
    return sorted({record.key for record in records if record.key is not None})


def holes(position: int, offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of each range of offsets missing from ascending `offsets` since `position`."""
    for offset in offsets:
        if offset > position:
            yield position, offset
        position = offset + 1


def fold(
    records: Iterable[Record],
    stored: Mapping[bytes, bytes | None],
    source: SourcePartition,
    crashed: frozenset[int] = frozenset(),
    limits: RowLimits = LIMITS,
) -> Folded:
    """Return the rows that change, and the dead letters in log order.

    `stored` has the bytes of the row of every key.  Records whose offset is in `crashed` are dead-lettered
    without being decoded.
    """
    return _Fold(stored, source, crashed, limits).run(records)


# Looking up members of an enum is slow.
_MERGED, _CONFLICT, _TOO_LARGE = Outcome.MERGED, Outcome.CONFLICT, Outcome.TOO_LARGE
_FIX = "stop the mergers and run `afterword rebuild --state`, then `afterword dlq replay`"
_NOTHING = Poison(Reason.MALFORMED_EVENT, "the record has no key, or no value")
_DETAILS = {
    Reason.CRASHED: "the merger process ended repeatedly while it merged this record",
    Reason.IDEMPOTENCY_CONFLICT: "the Idempotency-Key was used before with another body, which counts",
    Reason.ROW_TOO_LARGE: f"the row would have more than {MAX_ROW_KEYS} keys or {MAX_ROW_BYTES} bytes",
}


class _Fold:
    def __init__(
        self,
        stored: Mapping[bytes, bytes | None],
        source: SourcePartition,
        crashed: frozenset[int],
        limits: RowLimits,
    ) -> None:
        self._stored = stored
        self._source = source
        self._crashed = crashed
        self._limits = limits
        self._base = version_of(source.generation, 0)
        self._letters: list[DeadLetterRecord] = []

    def run(self, records: Iterable[Record]) -> Folded:
        """Fold key by key: a row is decoded, changed and encoded at once; only its bytes are kept."""
        outcomes: Counter[Outcome] = Counter()
        rows: dict[bytes, NewRow] = {}
        merged = 0
        if self._crashed:
            records = list(records)
            outcomes[Outcome.CRASHED] = self._dead_letter(
                one for one in records if one.offset in self._crashed
            )
            records = [one for one in records if one.offset not in self._crashed]
        for key, group in _by_key(records).items():
            row = self._find(key)
            if isinstance(row, Damaged):
                outcomes[Outcome.DAMAGED] += self._dead_letter_damaged(group, row)
                continue
            for record in group:
                outcome = self._consume(record, row)
                if outcome is _MERGED:
                    merged += 1  # separately, since hashing members of an enum is slow
                else:
                    outcomes[outcome] += 1
            if row.changed and key is not None:
                rows[key] = NewRow(states.encode(row.state), row.timestamp)
        outcomes[_MERGED] = merged
        self._letters.sort(key=_log_order)
        return Folded(rows, self._letters, outcomes)

    def _consume(self, record: Record, row: WorkingRow) -> Outcome:
        key, value, own = record.key, record.value, self._base | record.offset
        if row.has_read(own):
            return Outcome.READ_BEFORE
        version = own
        try:
            if record.headers:
                version = version_in_order(record.headers, own)
            if key is None or value is None:
                raise _NOTHING
            event = decode(key, value)
            if row.is_new:
                self._begin(row, key, event)
        except Poison as poison:
            self._letters.append(DeadLetterRecord(record, version, poison.reason, poison.detail))
            return Outcome.POISON
        outcome = consume(row, event, version, own, len(value), self._limits)
        row.timestamp = max(row.timestamp, record.timestamp)
        if outcome is _CONFLICT or outcome is _TOO_LARGE:
            reason = REASONS[outcome]
            self._letters.append(DeadLetterRecord(record, version, reason, _DETAILS[reason]))
        return outcome

    def _dead_letter(self, records: Iterable[Record]) -> int:
        """Dead-letter records without decoding their bodies or rows; returns their number."""
        count = 0
        for count, record in enumerate(records, 1):  # noqa: B007 (it is what is returned)
            version = own = self._base | record.offset
            with suppress(Poison):
                version = version_in_order(record.headers, own)
            self._letters.append(DeadLetterRecord(record, version, Reason.CRASHED, _DETAILS[Reason.CRASHED]))
        return count

    def _find(self, key: bytes | None) -> WorkingRow | Damaged:
        stored = None if key is None else self._stored.get(key)
        if key is None or stored is None:
            return WorkingRow.new()
        try:
            return WorkingRow(states.decode_of(key, stored), len(stored))
        except Damaged as damage:
            return damage

    def _dead_letter_damaged(self, records: Iterable[Record], damage: Damaged) -> int:
        """Dead-letter the events of a key whose row is damaged; returns their number.  Other keys are merged.

        The row is rebuilt from these events too, so their later replay changes nothing twice.
        """
        count = 0
        for count, record in enumerate(records, 1):  # noqa: B007 (it is what is returned)
            version = own = self._base | record.offset
            with suppress(Poison):
                version = version_in_order(record.headers, own)
            detail = f"the state of its request is damaged ({damage}): {_FIX}"
            self._letters.append(DeadLetterRecord(record, version, Reason.DAMAGED_STATE, detail))
        return count

    def _begin(self, row: WorkingRow, key: bytes, event: DecodedEvent) -> None:
        """Start the row of a new key; Poison if ingest cannot have written it, or not to this partition."""
        if not (is_tenant(event.tenant) and is_request_id(event.request_id)):
            raise Poison(Reason.MALFORMED_EVENT, "not a key of Afterword: a key is <tenant>/<request_id>")
        home = partition_of(key, self._source.partitions)
        if home != self._source.partition:
            raise Poison(Reason.MALFORMED_EVENT, f"the key belongs to partition {home}")
        row.begin(event.tenant, event.request_id)


def _by_key(records: Iterable[Record]) -> dict[bytes | None, list[Record]]:
    """Return the records of each key, in log order."""
    groups: dict[bytes | None, list[Record]] = {}
    for record in records:
        group = groups.get(record.key)
        if group is None:
            groups[record.key] = [record]
        else:
            group.append(record)
    return groups


def _log_order(letter: DeadLetterRecord) -> int:
    return letter.record.offset


WINDOW_EVENTS = 1_000
BROKEN = frozenset({Reason.MALFORMED_EVENT, Reason.INVALID_REPLAY, Reason.CRASHED})


class _DeadLettered(Protocol):
    """A dead letter's record and reason."""

    @property
    def record(self) -> Record: ...
    @property
    def reason(self) -> Reason: ...


L = TypeVar("L", bound=_DeadLettered)


def counting(letters: Iterable[L]) -> Iterator[L]:
    """Yield the letters that count as broken: of a request whose row is damaged, one in each batch.

    So a single damaged row does not stop the merger; many do, as when this release is too old for them.
    """
    seen: set[bytes | None] = set()
    for letter in letters:
        if letter.reason is Reason.DAMAGED_STATE and letter.record.key not in seen:
            seen.add(letter.record.key)
            yield letter
        elif letter.reason in BROKEN:
            yield letter


def latest(broken: Iterable[int], more: Iterable[int]) -> tuple[list[int], int]:
    """Return the offsets in the last window, and the largest number of offsets in any one window.

    Both arguments are ascending, and `more` comes after `broken`.
    """
    window: deque[int] = deque()
    most = 0
    for offset in (*broken, *more):
        window.append(offset)
        while window[0] <= offset - WINDOW_EVENTS:
            window.popleft()
        most = max(most, len(window))
    return list(window), most


def is_too_many(most: int, max_share: float) -> bool:
    """Return whether `most` broken events in one window exceed the share."""
    return most > max_share * WINDOW_EVENTS
