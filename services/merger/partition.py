"""Merges one partition exactly once: rows, dead letters and the position of a batch are one transaction.

The position is the committed one, whatever Faust delivers: records before it are skipped, missing ones are
read again, so neither a repeated delivery nor a lost one can corrupt the result.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Self

import structlog
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from schemas.deadletters import DeadLetter, Stage, headers_of
from services.merger import metrics
from services.merger.context import Setup
from services.merger.core.fold import (
    WINDOW_EVENTS,
    DeadLetterRecord,
    Folded,
    counting,
    fold,
    holes,
    is_too_many,
    keys_of,
    latest,
)
from services.merger.core.state import OlderThan, StoredRow, idle
from services.merger.crash_bisect import CrashBisection
from services.merger.recovery import Recovered, read_again, recover
from services.merger.transaction import Outgoing, TransactionWriter
from services.pipeline import survey
from services.pipeline.core.continuity import HeldPosition, misplaced, refuse
from services.runtime.kafka.core.log_mark import LogMark, mark_at, mark_of
from services.runtime.kafka.raw_fetch import Fetched, in_pieces
from services.runtime.retry import delays, retry

log = structlog.get_logger()

_FORGET_AT_ONCE = 1_000
_EXPIRY_PAUSE_SECONDS = 0.01
"""A pause between two reads of rows to expire, so that batches are merged in between."""
_REFUSED_FOR_THEIR_CONTENT = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError)


class TooManyBroken(Exception):  # noqa: N818 (an event, not a fault)
    """More events are broken than the limit allows; nothing of this batch was written."""


class OwnedPartition:
    """A partition that this process owns: its fencing producer, its rows, and its position.

    After any exception neither it nor the process may be used: the next owner, or the next process, resumes
    from the last commit.
    """

    def __init__(self, setup: Setup, number: int, writer: TransactionWriter, recovered: Recovered) -> None:
        self.number = number
        self.position = recovered.position
        """The offset of the next event to merge."""
        self.mark = recovered.mark
        """The mark of an event below the position, None if none is known."""
        self._setup, self._writer, self._store = setup, writer, recovered.store
        self._source = setup.source(number)
        self._bisection = CrashBisection(setup.directory.attempt(number))
        self._broken = self._store.broken
        self._last_fetch: tuple[int, int] = (-1, 0)
        """Broken connections at the last fetch, and the offset after it."""
        self._busy = asyncio.Lock()
        self._is_sound = True

    @classmethod
    async def open(cls, setup: Setup, number: int) -> Self:
        """Take a partition over from its previous owner, and read back its rows.

        ContinuityError if its positions do not fit the log.
        """
        began = time.perf_counter()
        async with AsyncExitStack() as undo:
            writer = await TransactionWriter.open(setup.settings, setup.topology, number)
            undo.push_async_callback(writer.close)
            recovered = await recover(setup, number)
            partition = cls(setup, number, writer, recovered)
            if (recovered.committed or 0) < recovered.position:
                # The group's offset is too low or expired, and would show lag until the next event.
                await writer.commit({}, position=recovered.position, mark=recovered.mark)
            undo.pop_all()
        metrics.RECOVERY_SECONDS.observe(time.perf_counter() - began)
        log.info("partition opened", partition=number, position=partition.position)
        return partition

    async def merge(self, fetched: Fetched | Sequence[Any]) -> int:
        """Merge the new ones among consecutive records of the partition; returns their number."""
        size, count = self._setup.settings.merger_batch_records, 0
        async with self._busy:
            if isinstance(fetched, Fetched):
                await self._verify_log(fetched)
            for records in in_pieces(fetched, size):
                fresh = await self._fresh(records)
                for piece in in_pieces(fresh, size):
                    await self._merge(piece)
                count += len(fresh)
        return count

    async def forget(self, erased_before: int) -> int:
        """Write tombstones for up to 1,000 rows erased before a time in milliseconds; returns how many."""
        async with self._busy:
            keys = list(islice(self._store.forgettable(erased_before), _FORGET_AT_ONCE))
            await self._remove(keys)
            return len(keys)

    async def forget_idle(self, old: OlderThan) -> int:
        """Write tombstones for all idle rows; returns their number.  Batches are merged in between."""
        key, count = b"", 0
        while True:
            async with self._busy:
                rows = self._store.rows_from(key, _FORGET_AT_ONCE)
                keys = idle(rows, old)
                await self._remove(keys)
            count += len(keys)
            if len(rows) < _FORGET_AT_ONCE:
                return count
            key = rows[-1][0] + b"\0"
            await asyncio.sleep(_EXPIRY_PAUSE_SECONDS)

    async def _remove(self, keys: Sequence[bytes]) -> None:
        if keys:
            gone = {key: StoredRow(None, self._setup.clock()) for key in keys}
            end = await self._send(gone)
            self._store.write(gone, position=end, now=self._setup.clock(), mark=_last(gone, end))
            metrics.FORGOTTEN.inc(len(keys))

    async def close(self) -> None:
        """Close everything after the batch in progress."""
        async with self._busy:
            await self._writer.close()
            self._store.close()
            self._bisection.close()

    async def _verify_log(self, fetched: Fetched) -> None:
        """Compare the position with the log if the fetch may be of another log; ContinuityError.

        That is possible for the first fetch, after a connection has broken, and if a fetch begins before the
        end of the previous one.
        """
        losses, end = self._last_fetch
        if fetched.losses != losses or fetched.first_offset < end:
            await self._compare()
        self._last_fetch = fetched.losses, fetched.last_offset + 1

    async def _compare(self) -> None:
        setup, topology = self._setup, self._setup.topology
        positions = [HeldPosition("merged here", topology.events.name, self.number, self.position, self.mark)]
        if (reached := self._store.position) is not None:
            holder = f"stored in {self._store.path}"
            positions.append(
                HeldPosition(holder, topology.state.name, self.number, reached, self._store.mark)
            )
        client = f"afterword-merger-mark-{self.number}"
        facts = await retry(
            lambda: survey.compared(setup.settings, client, setup.facts, positions),
            (KafkaError, OSError, TimeoutError),
            delays(longest=2.0),
            lambda error: log.warning("position not compared yet", partition=self.number, reason=repr(error)),
        )
        refuse([*misplaced(facts)])

    async def _fresh(self, records: Sequence[Any]) -> Sequence[Any]:
        """Return the records from the position on, without gaps."""
        if records[0].offset < self.position:
            records = [record for record in records if record.offset >= self.position]
        if not records or records[-1].offset - self.position + 1 == len(records):
            return records
        missing = holes(self.position, (record.offset for record in records))
        missed = await read_again(self._setup.settings, self._setup.topology.events, self.number, missing)
        return sorted([*missed, *records], key=lambda record: record.offset)

    async def _merge(self, records: Sequence[Any]) -> None:
        """Merge a batch; if it has ended the process before, search for the record."""
        left = self._bisection.left(records[0].offset)
        if left is None or not left.is_suspect:
            await self._commit(records)
            return
        log.warning("batch ended the process before", partition=self.number, mark=left)
        if left.is_culprit:
            await self._commit(records[:1], crashed=frozenset({left.offset}))
        else:
            for start, until in left.pieces():
                if piece := [record for record in records if start <= record.offset < until]:
                    await self._commit(piece, is_piece=True)
        if rest := [record for record in records if record.offset >= left.until]:
            await self._commit(rest)

    async def _commit(
        self, records: Sequence[Any], *, crashed: frozenset[int] = frozenset(), is_piece: bool = False
    ) -> None:
        first, after = records[0].offset, records[-1].offset + 1
        self._bisection.begin(first, after, is_piece=is_piece)
        with metrics.BATCH_SECONDS.labels("fold").time():
            folded = fold(records, self._store.get(keys_of(records)), self._source, crashed)
        self._bisection.finish()
        broken, mark = self._checked_broken(folded.letters), mark_of(records[-1])
        try:
            end = await self._send(folded.rows, self._letters(folded.letters), after, mark)
        except _REFUSED_FOR_THEIR_CONTENT:
            self._bisection.begin(first, after, is_piece=is_piece)
            raise
        with metrics.BATCH_SECONDS.labels("store").time():
            self._store.write(
                folded.rows,
                position=end,
                now=self._setup.clock(),
                input_position=after,
                broken=broken,
                mark=_last(folded.rows, end),
                input_mark=mark,
            )
        self._broken, self.position, self.mark = broken, after, mark
        _count(folded, records, self._setup.clock())

    async def _send(
        self,
        rows: Mapping[bytes, tuple[bytes | None, int]],
        letters: Sequence[Outgoing] = (),
        position: int | None = None,
        mark: LogMark | None = None,
    ) -> int | None:
        if not self._is_sound:
            raise RuntimeError(f"partition {self.number} failed before, and is closed")
        self._is_sound = False
        with metrics.BATCH_SECONDS.labels("transaction").time():
            end = await self._writer.commit(rows, letters, position, mark)
        self._is_sound = True
        return end

    def _checked_broken(self, letters: Sequence[DeadLetterRecord]) -> list[int]:
        """Return the offsets of the latest broken events; TooManyBroken if these exceed the limit."""
        more = [letter.record.offset for letter in counting(letters)]
        if not more:
            return self._broken
        broken, most = latest(self._broken, more)
        if is_too_many(most, self._setup.settings.merger_max_dead_letter_share):
            raise TooManyBroken(
                f"{most} of {WINDOW_EVENTS:,} events of partition {self.number} are broken, up to offset"
                f" {more[-1]} (the last: {letters[-1].detail}).  If the events are wrong, and not this"
                " release, set MERGER_MAX_DEAD_LETTER_SHARE=1 to dead-letter them."
            )
        return broken

    def _letters(self, letters: Sequence[DeadLetterRecord]) -> list[Outgoing]:
        now = datetime.fromtimestamp(self._setup.clock() / 1000, UTC)
        failed_at = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        return [self._letter(letter, failed_at) for letter in letters]

    def _letter(self, letter: DeadLetterRecord, failed_at: str) -> Outgoing:
        dead_letter = DeadLetter(
            stage=Stage.MERGER,
            reason=letter.reason,
            detail=letter.detail,
            original_topic=self._source.topic,
            original_partition=self.number,
            original_offset=letter.record.offset,
            original_version=letter.version,
            failed_at=failed_at,
        )
        return Outgoing(letter.record.key, letter.record.value, None, headers_of(dead_letter))


def _last(rows: dict[bytes, Any], end: int | None) -> LogMark | None:
    """Return the mark of a transaction's last row; rows are sent in order and end before `end`."""
    if end is None:
        return None
    key = next(reversed(rows))
    return mark_at(end - 1, key, rows[key][0])


def _count(folded: Folded, records: Sequence[Any], now: int) -> None:
    for outcome, count in folded.outcomes.items():
        metrics.EVENTS.labels(outcome.value).inc(count)
    for letter in folded.letters:
        metrics.DEAD_LETTERS.labels(letter.reason.value).inc()
    metrics.ROWS.inc(len(folded.rows))
    metrics.BATCH_EVENTS.observe(len(records))
    metrics.FRESHNESS.observe(max(0, now - records[-1].timestamp) / 1000)
