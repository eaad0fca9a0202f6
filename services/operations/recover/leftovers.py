"""Carries over what the old log has and nothing else does: events and dead letters that were never stored."""

from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.identity import event_key, split_key, version_of
from schemas.tables import DEAD_LETTERS, ERASED_REQUESTS, FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import Topic, Topology
from services.operations.audit.core.joined_state import key_versions, state_of
from services.operations.database import Database
from services.operations.recover.core.placement import (
    ContestedRequest,
    LoggedEvent,
    StoredEvent,
    is_contested,
    is_stored,
)
from services.operations.recover.request_states import OLDER
from services.operations.transfer import TransferRecord
from services.reconciliation.core.events import DIGEST_SQL, expected_event
from services.reconciliation.core.missing_events import quoted
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.kafka.core.records import LocatedRecord, placed
from services.runtime.kafka.log_reader import OffsetRange, read
from services.runtime.kafka.raw_fetch import in_pieces
from services.runtime.settings import KafkaSettings
from services.sink.core.rows import event_line

CLIENT = "afterword-recover"
_AT_ONCE = 500
"""Records whose requests are asked for in one question."""

Key = tuple[str, str]
Put = Callable[[list[TransferRecord]], Awaitable[None]]


@dataclass
class Leftovers:
    """Reads the old log of events.  `carried` counts what was appended."""

    settings: KafkaSettings
    database: Database
    old: Topology
    put: Put
    done: Counter[bytes]
    """Digests of what an earlier call has appended already."""
    carried: int = 0
    _contested: dict[bytes, list[LoggedEvent]] = field(default_factory=dict)

    async def carry(self, stretches: Sequence[OffsetRange], moved: Callable[[int], None]) -> int:
        """Append what is not stored, each in its order; how many records those were in all runs."""
        starts = {stretch.partition: stretch.start for stretch in stretches}
        async for part in read(self.settings, CLIENT, [self.old.events], stretches):
            for records in in_pieces(placed(part.topic, part.partition, part.records), _AT_ONCE):
                await self._take(records)
            moved(len(part.records))
        if self._contested:
            await self._settle(stretches, starts)
        return self.carried

    async def _take(self, records: Sequence[LocatedRecord]) -> None:
        logged = {record.offset: self._logged(record) for record in records}
        keys = {split_key(record.key or b"") for record in records if logged[record.offset] is not None}
        stored, erased = await self._stored(keys), await self._erased(keys)
        merged = await self._merged(keys)
        poison = await self._dead_lettered([record for record in records if logged[record.offset] is None])
        entries = []
        for record in records:
            event = logged[record.offset]
            if event is None:
                if (record.partition, record.offset, record.value) not in poison:
                    entries.append(_as_it_is(record))
                continue
            key = split_key(record.key or b"")
            rows = stored.get(key, [])
            if is_stored(event, rows) or event.version <= erased.get(key, -1):
                continue
            if record.key in self._contested or is_contested(event, rows, merged.get(key, ())):
                self._contested.setdefault(record.key or b"", []).append(event)
            else:
                entries.append(_at(record, event.version))
        await self._append(entries)

    async def _settle(self, stretches: Sequence[OffsetRange], starts: Mapping[int, int]) -> None:
        """Place events at offsets that were given out twice, once all of their requests is known."""
        found: dict[bytes, list[tuple[LocatedRecord, LoggedEvent]]] = {key: [] for key in self._contested}
        async for part in read(self.settings, CLIENT, [self.old.events], stretches):
            for one in placed(part.topic, part.partition, part.records):
                if one.key in found and (event := self._logged(one)) is not None:
                    found[one.key].append((one, event))
        for keys in in_pieces([*found], _AT_ONCE):
            names = {split_key(key) for key in keys}
            stored, merged = await self._stored(names), await self._merged(names)
            for key in keys:
                name = split_key(key)
                several = stored.get(name, []), merged.get(name, set())
                await self._append(self._placed(key, found[key], *several, starts))

    def _placed(
        self,
        key: bytes,
        several: Sequence[tuple[LocatedRecord, LoggedEvent]],
        stored: Sequence[StoredEvent],
        merged: Collection[int],
        starts: Mapping[int, int],
    ) -> list[TransferRecord]:
        generation = self.old.generation
        first = version_of(generation, starts[several[0][0].partition])
        request = ContestedRequest(
            [event for _, event in several], stored, merged, first, version_of(generation + 1, 0)
        )
        versions = request.versions(self._contested[key])
        return [
            _at(one, versions[event.own]) if versions[event.own] < request.behind else _as_it_is(one)
            for one, event in several
            if event.own in versions
        ]

    async def _append(self, entries: Iterable[TransferRecord]) -> None:
        new = []
        for entry in entries:
            self.carried += 1
            if self.done[digest(entry)]:
                self.done[digest(entry)] -= 1
            else:
                new.append(entry)
        if new:
            await self.put(new)

    def _logged(self, record: LocatedRecord) -> LoggedEvent | None:
        line = event_line(record, self.old.generation)
        if line is None or not _is_ours(record.key):
            return None
        event = expected_event(line)
        return LoggedEvent(event.log_offset, event.version, record.partition, event.digest)

    async def _stored(self, keys: Iterable[Key]) -> dict[Key, list[StoredEvent]]:
        found: dict[Key, list[StoredEvent]] = {}
        asked = (
            f"SELECT tenant, request_id, version, log_offset, log_partition, {DIGEST_SQL} AS digest"
            f" FROM {FEEDBACK_EVENTS} FINAL WHERE"
        )
        for row in await self._of(asked, keys):
            stored = StoredEvent(row["version"], row["log_offset"], row["log_partition"], row["digest"])
            found.setdefault((row["tenant"], row["request_id"]), []).append(stored)
        return found

    async def _merged(self, keys: Iterable[Key]) -> dict[Key, set[int]]:
        """Return the versions that the old record, and the row, of each request depend on."""
        versions: dict[Key, set[int]] = {}
        for row in await self._of(
            f"SELECT tenant, request_id, version FROM {FEEDBACK_STATE} FINAL WHERE", keys
        ):
            versions.setdefault((row["tenant"], row["request_id"]), set()).add(row["version"])
        asked = f"SELECT tenant, request_id, value FROM {OLDER} FINAL WHERE value IS NOT NULL AND"
        for row in await self._of(asked, keys):
            key = row["tenant"], row["request_id"]
            state = state_of(b64decode(row["value"]), event_key(*key))
            if state is not None:
                versions.setdefault(key, set()).update(*(part.values() for part in key_versions(state)))
        return versions

    async def _erased(self, keys: Iterable[Key]) -> dict[Key, int]:
        upto: dict[Key, int] = {}
        for table in (f"{ERASED_REQUESTS} WHERE", f"{FEEDBACK_EVENTS} WHERE op = 'erase' AND"):
            for row in await self._of(f"SELECT tenant, request_id, version FROM {table}", keys):
                key = row["tenant"], row["request_id"]
                upto[key] = max(row["version"], upto.get(key, -1))
        return upto

    async def _of(self, asked: str, keys: Iterable[Key]) -> list[dict[str, Any]]:
        among = ", ".join(f"({quoted(tenant)},{quoted(request_id)})" for tenant, request_id in sorted(keys))
        return (
            await self.database.rows(Statement(f"{asked} (tenant, request_id) IN ({among})")) if among else []
        )

    async def _dead_lettered(self, records: Sequence[LocatedRecord]) -> set[tuple[int, int, bytes | None]]:
        """Return which of these records are dead letters already, each with its bytes."""
        if not records:
            return set()
        places = ", ".join(f"({record.partition},{record.offset})" for record in records)
        rows = await self.database.rows(
            Statement(
                "SELECT original_partition, original_offset, isNull(raw) AS is_null,"
                " hex(ifNull(raw, '')) AS text"
                f" FROM {DEAD_LETTERS} FINAL WHERE original_topic = {quoted(self.old.events.name)}"
                f" AND (original_partition, original_offset) IN ({places})"
            )
        )
        return {
            (
                row["original_partition"],
                row["original_offset"],
                None if row["is_null"] else bytes.fromhex(row["text"]),
            )
            for row in rows
        }


def _as_it_is(record: LocatedRecord) -> TransferRecord:
    return TransferRecord(record.key or b"", record.value, record.timestamp, tuple(record.headers))


def _at(record: LocatedRecord, version: int) -> TransferRecord:
    """Return a record that counts at a version, as a replayed dead letter does."""
    kept = [header for header in record.headers if header[0] != REPLAY_VERSION_HEADER]
    headers = (*kept, (REPLAY_VERSION_HEADER, b"%d" % version))
    return TransferRecord(record.key or b"", record.value, record.timestamp, headers)


def digest(record: Any) -> bytes:
    """Return a digest that identifies a carried record."""
    versions = [value for name, value in record.headers if name == REPLAY_VERSION_HEADER]
    parts = (record.key or b"", record.value or b"", *(value or b"" for value in versions))
    return blake2b(b"".join(b"%d:%b" % (len(part), part) for part in parts), digest_size=16).digest()


async def carry_letters(
    settings: KafkaSettings,
    database: Database,
    topic: Topic,
    stretches: Sequence[OffsetRange],
    put: Put,
    done: Counter[bytes],
) -> int:
    """Append the dead letters of a topic that their table lacks; how many.  Erased requests are skipped."""
    carried = 0
    async for part in read(settings, CLIENT, [topic], stretches):
        for records in in_pieces(placed(part.topic, part.partition, part.records), _AT_ONCE):
            missing = await _missing(database, records)
            entries = [_as_it_is(one) for one in missing if not done[digest(one)]]
            carried += len(missing)
            if entries:
                await put(entries)
    return carried


async def _missing(database: Database, records: Sequence[LocatedRecord]) -> list[LocatedRecord]:
    places = ", ".join(str(record.offset) for record in records)
    rows = await database.rows(
        Statement(
            f"SELECT dlq_offset, hex(ifNull(raw, '')) AS text FROM {DEAD_LETTERS} FINAL"
            f" WHERE dlq_topic = {quoted(records[0].topic)} AND dlq_offset IN ({places})"
        )
    )
    known = {(row["dlq_offset"], bytes.fromhex(row["text"])) for row in rows}
    left = [record for record in records if (record.offset, record.value or b"") not in known]
    keys = {split_key(one.key or b"") for one in left if _is_ours(one.key)}
    among = ", ".join(f"({quoted(tenant)},{quoted(request_id)})" for tenant, request_id in sorted(keys))
    if not among:
        return left
    asked = (
        f"SELECT DISTINCT tenant, request_id FROM {ERASED_REQUESTS} WHERE (tenant, request_id) IN ({among})"
    )
    erased = {event_key(row["tenant"], row["request_id"]) for row in await database.rows(Statement(asked))}
    return [one for one in left if one.key not in erased]


def _is_ours(key: bytes | None) -> bool:
    try:
        split_key(key or b"")
    except ValueError:
        return False
    return True
