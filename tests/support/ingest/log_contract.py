"""What every log must do, whether in memory or on Kafka."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from schemas.identity import event_key, partition_of
from services.ingest.event_log import EventLog

Record = tuple[bytes, bytes]
Reading = Callable[[], Awaitable[list[list[Record]]]]
"""Returns the records of every partition, in order."""


class LogContract:
    """One suite for all: a subclass brings the fixtures `log`, which is ready, and `reading`."""

    async def test_each_event_is_found_at_the_offset_that_was_promised(
        self, log: EventLog, reading: Reading
    ) -> None:
        """Many at once, over all partitions."""
        sent = [(event_key("t", f"r{number}"), b'{"n":%d}' % number) for number in range(200)]
        offsets = await asyncio.gather(*(log.publish(key, value) for key, value in sent))
        partitions = await reading()

        for (key, value), offset in zip(sent, offsets, strict=True):
            assert partitions[partition_of(key, len(partitions))][offset] == (key, value)
        assert sum(map(len, partitions)) == len(sent)

    async def test_events_of_a_key_keep_the_order_in_which_they_came(
        self, log: EventLog, reading: Reading
    ) -> None:
        """Also when nobody waits for one before the next is sent."""
        futures = []
        for number in range(100):
            futures.append(log.publish(event_key("t", f"r{number % 3}"), b"%d" % number))
            if number % 10 == 9:
                await asyncio.sleep(0)
        await asyncio.gather(*futures)
        values = defaultdict(list)
        for partition in await reading():
            for key, value in partition:
                values[key].append(int(value))

        assert len(values) == 3
        assert all(numbers == sorted(numbers) for numbers in values.values())

    async def test_a_waiter_that_leaves_disturbs_no_other(self, log: EventLog, reading: Reading) -> None:
        """The event is written all the same, and the others get their offsets."""
        key = event_key("t", "r")
        futures = [log.publish(key, b"%d" % number) for number in range(5)]
        waiting = [asyncio.ensure_future(future) for future in futures]
        waiting[2].cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        partitions = await reading()

        assert [results[index] for index in (0, 1, 3, 4)] == [0, 1, 3, 4]
        assert [value for _, value in partitions[partition_of(key, len(partitions))]] == [
            b"0",
            b"1",
            b"2",
            b"3",
            b"4",
        ]

    async def test_a_log_that_works_is_ready_and_alive(self, log: EventLog) -> None:
        """And its epoch stands still."""
        epoch = log.epoch
        await log.publish(event_key("t", "r"), b"{}")

        assert log.readiness() is None
        assert log.liveness() is None
        assert log.epoch == epoch

    async def test_events_that_are_sent_together_are_found_at_their_offsets(
        self, log: EventLog, reading: Reading
    ) -> None:
        """Every one is in exactly one range, those of a key in their order, between others sent alone."""
        sent = [(event_key("t", f"r{number % 7}"), b'{"n":%d}' % number) for number in range(100)]
        alone = log.publish(*sent[0])
        ranges = log.publish_all(sent[1:])
        found = {0: await alone}
        for offsets in ranges:
            for offset, index in enumerate(offsets.indexes, await offsets.first):
                found[index + 1] = offset
        partitions = await reading()

        assert sorted(found) == list(range(100))
        for number, (key, value) in enumerate(sent):
            assert partitions[partition_of(key, len(partitions))][found[number]] == (key, value)
