"""A batch of records folded into rows and dead letters.

Pure: the whole of what a transaction will hold, decided before anything is sent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from schemas.deadletters import Reason
from schemas.identity import partition_of, split_key, version_of
from schemas.limits import MAX_ROW_BYTES, MAX_ROW_KEYS
from services.merger import state as states
from services.merger.admission import LIMITS, REASONS, Limits, Outcome, Row, consume
from services.merger.events import Event, Poison, decode, place
from services.runtime.records import Record


class Source(NamedTuple):
    """The partition that the records come from."""

    topic: str
    generation: int
    partition: int
    partitions: int


class Letter(NamedTuple):
    """A record that goes to the dead letters, and the version at which it counts."""

    record: Record
    version: int
    reason: Reason
    detail: str


class NewRow(NamedTuple):
    """A row as it is to be sent, stamped with the append time of its newest event, in milliseconds."""

    value: bytes
    timestamp: int


class Folded(NamedTuple):
    """What a batch comes to."""

    rows: dict[bytes, NewRow]
    letters: list[Letter]
    outcomes: Counter[Outcome]


def keys_of(records: Iterable[Record]) -> list[bytes]:
    """Return the distinct keys of the records, sorted: a store reads neighbours together."""
    return sorted({record.key for record in records if record.key is not None})


def holes(position: int, offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, after last) of each stretch that is missing between `position` and ascending offsets."""
    for offset in offsets:
        if offset > position:
            yield position, offset
        position = offset + 1


def fold(
    records: Iterable[Record],
    stored: Mapping[bytes, bytes | None],
    source: Source,
    crashed: frozenset[int] = frozenset(),
    limits: Limits = LIMITS,
) -> Folded:
    """Return the rows that change and the records that are given up, in log order.

    `stored` has the bytes of the row of every key.  Offsets in `crashed` are not even looked at.
    """
    return _Fold(stored, source, crashed, limits).run(records)


_NOTHING = Poison(Reason.MALFORMED_EVENT, "the record has no key, or no value")
_DETAILS = {
    Reason.CRASHED: "the merger ended again and again while it merged this record",
    Reason.IDEMPOTENCY_CONFLICT: "the Idempotency-Key was used before for another body, which stands",
    Reason.ROW_TOO_LARGE: f"the row would have more than {MAX_ROW_KEYS} keys or {MAX_ROW_BYTES} bytes",
}


class _Touched(msgspec.Struct):
    """A row that this batch reads, and perhaps changes."""

    row: Row
    changed: bool = False
    timestamp: int = 0


class _Fold:
    def __init__(
        self, stored: Mapping[bytes, bytes | None], source: Source, crashed: frozenset[int], limits: Limits
    ) -> None:
        self._stored = stored
        self._source = source
        self._crashed = crashed
        self._limits = limits
        self._base = version_of(source.generation, 0)
        self._touched: dict[bytes, _Touched] = {}
        self._letters: list[Letter] = []

    def run(self, records: Iterable[Record]) -> Folded:
        outcomes: Counter[Outcome] = Counter()
        merged = 0
        for record in records:
            outcome = self._consume(record)
            if outcome is Outcome.MERGED:
                merged += 1  # apart, because members of an enum hash slowly
            else:
                outcomes[outcome] += 1
        outcomes[Outcome.MERGED] = merged
        rows = {
            key: NewRow(states.encode(touched.row.state), touched.timestamp)
            for key, touched in self._touched.items()
            if touched.changed
        }
        return Folded(rows, self._letters, outcomes)

    def _consume(self, record: Record) -> Outcome:
        key, value, own = record.key, record.value, self._base | record.offset
        if record.offset in self._crashed:
            return self._give_up(record, own)
        touched = self._find(key)
        if touched is not None and touched.row.has_read(own):
            return Outcome.READ_BEFORE
        version = own
        try:
            if record.headers:
                version = place(record.headers, own)
            if key is None or value is None:
                raise _NOTHING
            event = decode(key, value)
            touched = touched or self._add(key, event)
        except Poison as poison:
            self._letters.append(Letter(record, version, poison.reason, poison.detail))
            return Outcome.POISON
        outcome = consume(touched.row, event, version, own, len(value), self._limits)
        self._settle(record, touched, outcome, version)
        return outcome

    def _give_up(self, record: Record, own: int) -> Outcome:
        """Make a dead letter of a record without a look at its body, nor at its row."""
        version = own
        with suppress(Poison):
            version = place(record.headers, own)
        self._letters.append(Letter(record, version, Reason.CRASHED, _DETAILS[Reason.CRASHED]))
        return Outcome.CRASHED

    def _settle(self, record: Record, touched: _Touched, outcome: Outcome, version: int) -> None:
        state = touched.row.state
        if outcome is Outcome.MERGED or state.version != state.merge.erased:
            touched.changed = True
        touched.timestamp = max(touched.timestamp, record.timestamp)
        if outcome is Outcome.CONFLICT or outcome is Outcome.TOO_LARGE:
            reason = REASONS[outcome]
            self._letters.append(Letter(record, version, reason, _DETAILS[reason]))

    def _find(self, key: bytes | None) -> _Touched | None:
        if key is None:
            return None
        touched = self._touched.get(key)
        if touched is None and (row := self._stored.get(key)) is not None:
            touched = self._touched[key] = _Touched(Row(states.decode(row), len(row)))
        return touched

    def _add(self, key: bytes, event: Event) -> _Touched:
        """Return a blank row; Poison when ingest cannot have written such a key, or not to this partition."""
        try:
            split_key(key)
        except ValueError as error:
            raise Poison(Reason.MALFORMED_EVENT, f"not a key of ours: {error}") from error
        home = partition_of(key, self._source.partitions)
        if home != self._source.partition:
            raise Poison(Reason.MALFORMED_EVENT, f"the key belongs into partition {home}")
        touched = self._touched[key] = _Touched(Row(states.blank(event.tenant, event.request_id)))
        return touched
