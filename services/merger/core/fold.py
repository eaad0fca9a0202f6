"""A batch of records folded into rows and dead letters.

Pure: the whole of what a transaction will hold, decided before anything is sent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from schemas.deadletters import Reason
from schemas.identity import is_request_id, is_tenant, partition_of, version_of
from schemas.limits import MAX_ROW_BYTES, MAX_ROW_KEYS
from services.merger.core import state as states
from services.merger.core.admission import LIMITS, REASONS, Limits, Outcome, Row, consume
from services.merger.core.events import Event, Poison, decode, place
from services.merger.core.state import Damaged
from services.runtime.kafka.core.records import Record


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


# Members of an enum are found slowly.
_MERGED, _CONFLICT, _TOO_LARGE = Outcome.MERGED, Outcome.CONFLICT, Outcome.TOO_LARGE
_MEND = "stop the mergers and run `afterword rebuild --state`, then `afterword dlq replay`"
_NOTHING = Poison(Reason.MALFORMED_EVENT, "the record has no key, or no value")
_DETAILS = {
    Reason.CRASHED: "the merger ended again and again while it merged this record",
    Reason.IDEMPOTENCY_CONFLICT: "the Idempotency-Key was used before for another body, which stands",
    Reason.ROW_TOO_LARGE: f"the row would have more than {MAX_ROW_KEYS} keys or {MAX_ROW_BYTES} bytes",
}


class _Fold:
    def __init__(
        self, stored: Mapping[bytes, bytes | None], source: Source, crashed: frozenset[int], limits: Limits
    ) -> None:
        self._stored = stored
        self._source = source
        self._crashed = crashed
        self._limits = limits
        self._base = version_of(source.generation, 0)
        self._letters: list[Letter] = []

    def run(self, records: Iterable[Record]) -> Folded:
        """Fold key by key: each row is decoded and encoded while it is warm, and none waits in memory."""
        outcomes: Counter[Outcome] = Counter()
        rows: dict[bytes, NewRow] = {}
        merged = 0
        if self._crashed:
            records = list(records)
            outcomes[Outcome.CRASHED] = self._give_up(one for one in records if one.offset in self._crashed)
            records = [one for one in records if one.offset not in self._crashed]
        for key, group in _by_key(records).items():
            row = self._find(key)
            if isinstance(row, Damaged):
                outcomes[Outcome.DAMAGED] += self._hold_up(group, row)
                continue
            for record in group:
                outcome = self._consume(record, row)
                if outcome is _MERGED:
                    merged += 1  # apart, because members of an enum hash slowly
                else:
                    outcomes[outcome] += 1
            if row.changed and key is not None:
                rows[key] = NewRow(states.encode(row.state), row.timestamp)
        outcomes[_MERGED] = merged
        self._letters.sort(key=_log_order)
        return Folded(rows, self._letters, outcomes)

    def _consume(self, record: Record, row: Row) -> Outcome:
        key, value, own = record.key, record.value, self._base | record.offset
        if row.has_read(own):
            return Outcome.READ_BEFORE
        version = own
        try:
            if record.headers:
                version = place(record.headers, own)
            if key is None or value is None:
                raise _NOTHING
            event = decode(key, value)
            if row.is_new:
                self._begin(row, key, event)
        except Poison as poison:
            self._letters.append(Letter(record, version, poison.reason, poison.detail))
            return Outcome.POISON
        outcome = consume(row, event, version, own, len(value), self._limits)
        row.timestamp = max(row.timestamp, record.timestamp)
        if outcome is _CONFLICT or outcome is _TOO_LARGE:
            reason = REASONS[outcome]
            self._letters.append(Letter(record, version, reason, _DETAILS[reason]))
        return outcome

    def _give_up(self, records: Iterable[Record]) -> int:
        """Make dead letters of records without a look at their bodies, nor at their rows; how many."""
        count = 0
        for count, record in enumerate(records, 1):  # noqa: B007 (it is what is returned)
            version = own = self._base | record.offset
            with suppress(Poison):
                version = place(record.headers, own)
            self._letters.append(Letter(record, version, Reason.CRASHED, _DETAILS[Reason.CRASHED]))
        return count

    def _find(self, key: bytes | None) -> Row | Damaged:
        stored = None if key is None else self._stored.get(key)
        if key is None or stored is None:
            return Row.new()
        try:
            return Row(states.decode_of(key, stored), len(stored))
        except Damaged as damage:
            return damage

    def _hold_up(self, records: Iterable[Record], damage: Damaged) -> int:
        """Make dead letters of the events of a key whose row is damaged: the others go on; how many.

        They are among the events that its row is mended from, so their replay later changes nothing twice.
        """
        count = 0
        for count, record in enumerate(records, 1):  # noqa: B007 (it is what is returned)
            version = own = self._base | record.offset
            with suppress(Poison):
                version = place(record.headers, own)
            detail = f"the state of its request is damaged ({damage}): {_MEND}"
            self._letters.append(Letter(record, version, Reason.DAMAGED_STATE, detail))
        return count

    def _begin(self, row: Row, key: bytes, event: Event) -> None:
        """Make a row of a new key; Poison when ingest cannot have written it, or not to this partition."""
        if not (is_tenant(event.tenant) and is_request_id(event.request_id)):
            raise Poison(Reason.MALFORMED_EVENT, "not a key of ours: a key is <tenant>/<request_id>")
        home = partition_of(key, self._source.partitions)
        if home != self._source.partition:
            raise Poison(Reason.MALFORMED_EVENT, f"the key belongs into partition {home}")
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


def _log_order(letter: Letter) -> int:
    return letter.record.offset
