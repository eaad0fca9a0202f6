# ruff: noqa: SLF001 (that is what this file is for)
"""Returns fetched record batches of an aiokafka consumer undecoded.

aiokafka decodes all that it fetched, wraps each record in another, and passes them through three generators
one by one: more than it takes to decode them, and more memory.  Here a reader decodes a record batch at a
time.  Its records have an offset, a timestamp, a key, a value and headers, but no topic and no partition,
which the caller of `getmany` has from the keys of the result.

Every name of aiokafka that this uses is private, and pinned by a contract test.  It can go once aiokafka
returns record batches.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException

from services.runtime.kafka.lenient_decoding import TolerantBatch


class Fetched:
    """What one fetch brought from one partition, to be read once; it is never empty of batches.

    `losses`: how many connections of the consumer had broken when it came.
    """

    def __init__(self, batches: Iterable[Any], first: int, losses: int = 0) -> None:
        self._batches, self._first = deque(batches), first
        self.first_offset, self.losses = first, losses
        self._rest: list[Any] = []
        """Decoded, and not yet taken."""
        last = self._batches[-1]
        self.last_offset: int = last.next_offset - 1
        self.timestamp: int = last.max_timestamp
        """The latest of the last batch, in milliseconds."""

    @property
    def is_taken(self) -> bool:
        """Whether all of it was taken."""
        return not self._rest and not self._batches

    def take(self, most: int) -> list[Any]:
        """Return the next records, at most `most`, and release them."""
        taken = self._rest
        while len(taken) < most and self._batches:
            taken += self._records(self._batches.popleft())
        self._rest = taken[most:]
        return taken[:most]

    def pieces(self, most: int) -> Iterator[list[Any]]:
        """Yield the records in order, at most `most` at a time, and release what was yielded."""
        while piece := self.take(most):
            yield piece

    def _records(self, batch: Any) -> list[Any]:
        """Decode a batch, whose first records may lie before what was asked for."""
        records = batch.whole() if isinstance(batch, TolerantBatch) else list(batch)
        if records and records[0].offset < self._first:
            return [record for record in records if record.offset >= self._first]
        return records


def in_pieces(records: Fetched | Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """Yield records in order, at most `most` at a time."""
    if isinstance(records, Fetched):
        yield from records.pieces(most)
    else:
        yield from (records[start : start + most] for start in range(0, len(records), most))


class WholeConsumer(AIOKafkaConsumer):
    """A consumer whose `getmany`, without a limit, gives a `Fetched` for each partition."""

    async def start(self) -> None:
        """Connect."""
        await super().start()
        fetch_whole(self)

    @property
    def losses(self) -> int:
        """How many connections have broken."""
        return _losses(self)


def fetch_whole(consumer: AIOKafkaConsumer) -> None:
    """Have a consumer that was started give `Fetched` where it gave lists, in `getmany` without a limit."""
    fetcher = consumer._fetcher
    if not isinstance(fetcher._records, _FetchResults):
        fetcher._records = _FetchResults(fetcher._records, partial(_losses, consumer))


def _losses(consumer: AIOKafkaConsumer) -> int:
    return getattr(consumer._client, "losses", 0)  # of what `runtime.kafka` has made


class _FetchResults(OrderedDict[Any, Any]):
    """Fetch results by partition, until `getmany` takes them."""

    def __init__(self, found: Mapping[Any, Any], losses: Callable[[], int]) -> None:
        self._losses = losses
        super().__init__(found)

    def __setitem__(self, place: Any, found: Any) -> None:
        """Note a result, which may be an error."""
        if type(found) is FetchResult:
            found.getall = partial(_taken, found, losses=self._losses())
        super().__setitem__(place, found)


def _taken(result: Any, max_records: int | None = None, *, losses: int) -> Any:
    """Do what `FetchResult.getall` does, without a look at the records."""
    if max_records is not None:
        return FetchResult.getall(result, max_records)
    if not result.has_more() or not result.check_assignment(result._topic_partition):
        return []
    records, result._partition_records = result._partition_records, None
    first = records.next_fetch_offset
    batches = [*_shown(records)]
    result._assignment.state_value(result._topic_partition).consumed_to(records.next_fetch_offset)
    return Fetched(batches, first, losses) if batches else []


def _shown(records: PartitionRecords) -> Iterator[Any]:
    """Yield the batches that hold records which the consumer may see, moving its position behind each."""
    while records._records.has_next():
        batch = records._records.next_batch()
        if records._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {records._tp}")
        if not _is_rolled_back(records, batch) and not batch.is_control_batch:
            yield batch
        records.next_fetch_offset = batch.next_offset


def _is_rolled_back(records: PartitionRecords, batch: Any) -> bool:
    """Return whether a batch is of an aborted transaction; to be called for each batch, in order."""
    if records._isolation_level != READ_COMMITTED or batch.producer_id is None:
        return False
    records._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch and records._contains_abort_marker(batch):
        records._aborted_producers.discard(batch.producer_id)
    return bool(batch.is_transactional and batch.producer_id in records._aborted_producers)
