"""Group commit, against a producer that does as the test says: what Kafka does seldom, and when exactly."""

import asyncio
from typing import Any, NamedTuple

import pytest
from aiokafka.errors import KafkaError

from services.ingest.accumulator import Accumulator
from services.ingest.event_log import NO_OFFSET, LogUnavailable
from services.runtime.core.quota import ByteQuota
from tests.support.eventually import eventually

FULL = 3
"""Records that fit into a batch."""


class Builder:
    """A record batch that counts."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.closed = False

    def append(self, *, value: bytes, **_others: Any) -> object | None:
        """Take a record, unless full; a closed batch must not be asked."""
        assert not self.closed
        if len(self.values) == FULL:
            return None
        self.values.append(value)
        return object()

    def close(self) -> None:
        """Take no more."""
        self.closed = True

    def record_count(self) -> int:
        """Count."""
        return len(self.values)


class Offset(NamedTuple):
    """What Kafka answers."""

    offset: int


class Producer:
    """Hands every batch to the test, which answers for it."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, list[bytes], asyncio.Future[Offset]]] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def create_batch(self) -> Builder:
        """Return an empty batch."""
        return Builder()

    async def send_batch(self, builder: Builder, _topic: str, *, partition: int) -> asyncio.Future[Offset]:
        """Take a batch, once the test lets it through."""
        assert builder.closed
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        answer: asyncio.Future[Offset] = asyncio.get_running_loop().create_future()
        self.sent.append((partition, builder.values, answer))
        return answer

    async def batches(self, count: int) -> list[list[bytes]]:
        """Wait for so many batches, and return what is in them."""
        await eventually(lambda: len(self.sent) >= count, every=0)
        return [values for _, values, _ in self.sent]

    def answer(self, index: int, offset: int) -> None:
        """Acknowledge a batch."""
        self.sent[index][2].set_result(Offset(offset))


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.losses = 0
        self.reasons: list[str] = []

    def lost(self) -> None:
        """Count."""
        self.losses += 1

    def broken(self, _producer: Any, reason: str) -> None:
        """Remember."""
        self.reasons.append(reason)

    def refused(self, _producer: Any) -> None:
        """Nothing refuses here."""


class Setup:
    """An accumulator, and everything around it."""

    def __init__(self, deadline: float = 60) -> None:
        self.producer, self.quota, self.listener = Producer(), ByteQuota(1000), Listener()
        self.accumulator = Accumulator(self.producer, "topic", self.quota, deadline, self.listener)

    def add(self, value: bytes, partition: int = 0) -> asyncio.Future[int]:
        """Add an event of ten bytes."""
        assert self.quota.take(b"t", 10)
        return self.accumulator.add(partition, b"k", value, b"t", 10)


async def test_what_arrives_while_a_request_is_in_flight_is_the_next_batch() -> None:
    """One at once, then all that came meanwhile, together."""
    bench = Setup()
    first = bench.add(b"1")
    assert await bench.producer.batches(1) == [[b"1"]]
    later = [bench.add(b"2"), bench.add(b"3")]
    bench.producer.answer(0, 7)
    assert await first == 7
    assert await bench.producer.batches(2) == [[b"1"], [b"2", b"3"]]
    bench.producer.answer(1, 8)

    assert [await waiter for waiter in later] == [8, 9]
    assert bench.quota.used == 0


async def test_partitions_share_a_request_and_full_batches_wait_their_turn() -> None:
    """The client would hold up the whole round for a second batch of the same partition."""
    bench = Setup()
    waiters = [bench.add(b"%d" % number) for number in range(FULL + 1)]
    waiters.append(bench.add(b"other", partition=1))
    assert await bench.producer.batches(2) == [[b"0", b"1", b"2"], [b"other"]]
    bench.producer.answer(0, 0)
    bench.producer.answer(1, 50)
    assert (await bench.producer.batches(3))[2] == [b"3"]
    bench.producer.answer(2, 3)

    assert [await waiter for waiter in waiters] == [0, 1, 2, 3, 50]


async def test_a_batch_without_an_offset_is_accepted_all_the_same() -> None:
    """DUPLICATE_SEQUENCE_NUMBER: Kafka has it from an earlier try, and cannot say where."""
    bench = Setup()
    waiters = [bench.add(b"1"), bench.add(b"2")]
    await bench.producer.batches(1)
    bench.producer.answer(0, -1)

    assert [await waiter for waiter in waiters] == [NO_OFFSET, NO_OFFSET]
    assert not bench.listener.reasons


async def test_a_batch_that_kafka_refuses_breaks_the_producer() -> None:
    """Its events may be anywhere, and the listener is told."""
    bench = Setup()
    waiter = bench.add(b"1")
    await bench.producer.batches(1)
    bench.producer.sent[0][2].set_exception(KafkaError("refused"))
    with pytest.raises(LogUnavailable) as refused:
        await waiter

    assert refused.value.unknown
    assert bench.listener.losses == 1
    assert bench.listener.reasons == ["KafkaError('refused')"]
    assert bench.quota.used == 0


async def test_a_producer_that_takes_nothing_is_broken_too() -> None:
    """As one that was closed behind our back."""
    bench = Setup()
    bench.producer.error = KafkaError("closed")
    with pytest.raises(LogUnavailable):
        await bench.add(b"1")

    assert bench.listener.reasons == ["KafkaError('closed')"]
    assert bench.quota.used == 0


async def test_a_deadline_ends_the_waiting_but_not_the_counting() -> None:
    """Until Kafka answers, nobody else is kept waiting, and the bytes stay where they are."""
    bench = Setup(deadline=0.01)
    with pytest.raises(LogUnavailable) as refused:
        await bench.add(b"1")
    assert refused.value.unknown
    assert bench.quota.used == 10
    assert bench.accumulator.stuck
    assert bench.accumulator.oldest() is not None
    with pytest.raises(LogUnavailable) as later:
        bench.accumulator.add(0, b"k", b"2", b"t", 10)
    assert not later.value.unknown

    bench.producer.answer(0, 0)
    await eventually(lambda: not bench.accumulator.stuck, every=0)
    assert bench.quota.used == 0
    assert bench.accumulator.oldest() is None
    assert not bench.listener.reasons


async def test_what_is_queued_at_its_deadline_is_dropped_for_good() -> None:
    """It was never handed over, so it will never be written, and its bytes are free."""
    bench = Setup(deadline=0.05)
    first = bench.add(b"1")
    await bench.producer.batches(1)
    second = bench.add(b"2")
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    bench.producer.answer(0, 0)
    await eventually(lambda: bench.quota.used == 0, every=0)

    assert [outcome.unknown for outcome in outcomes if isinstance(outcome, LogUnavailable)] == [True, False]
    assert await bench.producer.batches(1) == [[b"1"]]
    assert bench.listener.losses == 2


async def test_what_expires_while_it_is_handed_over_is_not_sent_at_all() -> None:
    """Two partitions in one round, the first of which takes too long."""
    bench = Setup(deadline=0.01)
    bench.producer.gate.clear()
    outcomes = await asyncio.gather(bench.add(b"1"), bench.add(b"2", partition=1), return_exceptions=True)
    bench.producer.gate.set()
    await bench.producer.batches(1)
    bench.producer.answer(0, 0)
    await eventually(lambda: bench.quota.used == 0, every=0)

    assert all(isinstance(outcome, LogUnavailable) for outcome in outcomes)
    assert await bench.producer.batches(1) == [[b"1"]]


async def test_abandoning_settles_everyone_and_frees_everything() -> None:
    """The producer is gone: what it had may be written, what was queued is not."""
    bench = Setup()
    handed_over = bench.add(b"1")
    await bench.producer.batches(1)
    queued = bench.add(b"2")
    bench.accumulator.abandon()
    outcomes = await asyncio.gather(handed_over, queued, return_exceptions=True)
    bench.producer.answer(0, 0)
    await asyncio.sleep(0)

    assert [outcome.unknown for outcome in outcomes if isinstance(outcome, LogUnavailable)] == [True, False]
    assert bench.quota.used == 0


async def test_an_event_that_comes_just_as_the_last_batch_is_answered_is_sent() -> None:
    """Between the end of one round of sending and the next there is no gap to fall into."""
    bench = Setup()
    for number in range(20):
        waiter = bench.add(b"%d" % number)
        await bench.producer.batches(number + 1)
        bench.producer.answer(number, number)
        assert await waiter == number
