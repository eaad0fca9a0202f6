"""A Faust transport that hands an agent whole batches of records.

Faust wraps every record in a message and an event and keeps books of its acknowledgement: about 85
microseconds each.  Here one Faust message *is* what one fetch brought from one partition: its value is
a `Fetched`, which is decoded piece by piece as it is merged.

Offsets are committed inside the transaction that holds a batch's results, and nowhere else: Faust's own
commit, which goes by acknowledgements that it also gives for events that failed, does nothing here.

Each name of Faust that is overridden is pinned by a contract test; most of them are private.
"""

from collections.abc import Mapping
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from services.runtime.kafka.clients import FETCH_MIN_BYTES, FETCH_WAIT_MS, repair
from services.runtime.kafka.lenient_decoding import tolerate
from services.runtime.kafka.raw_fetch import fetch_whole

_LOG_APPEND_TIME = 1


class BatchThread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka's consumer runs."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        """Read only what was committed, as every other reader of the events does."""
        tolerate()
        consumer = super()._create_worker_consumer(transport)
        # Faust has no settings for these.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._fetch_min_bytes = FETCH_MIN_BYTES  # noqa: SLF001
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001
        repair(consumer._client)  # noqa: SLF001
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 (the signature is Faust's)
        max_records: int | None = None,
    ) -> Mapping[TP, Any]:
        """Fetch without decoding: the merge does that."""
        if self.consumer.flow_active:
            fetch_whole(consumer)
        fetched: Mapping[TP, Any] = await super()._fetch_records(
            consumer, active_partitions, timeout, max_records
        )
        return fetched


class BatchConsumer(driver.Consumer):
    """Makes one message of what one fetch brought from one partition."""

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 (the signature is Faust's)
    ) -> Mapping[TP, list[Any]]:
        fetched = await super()._getmany(active_partitions, timeout)
        return {tp: [records] for tp, records in fetched.items()}

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.last_offset,
            record.timestamp / 1000,
            _LOG_APPEND_TIME,
            headers=None,
            key=None,
            value=record,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 (the signature is Faust's)
        """Close Faust's books without a commit."""
        for book in (self._acked, self._acked_index, self._gap):
            book.clear()
        return False

    def on_buffer_full(self, tp: TP) -> None:
        """Let the full queue itself hold the fetcher back.

        Faust would take the partition out of the set that it fetches from, and sleeps for a whole second
        whenever none is left in it.
        """

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Leave it to `watch`, which looks at committed offsets; Faust misses commits of its own."""


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with another consumer."""

    Consumer = BatchConsumer


class BatchSchema(faust.Schema[Any, Any]):
    """Passes the list of records through as it is."""

    def loads_key(self, app: Any, message: Message, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ARG002 (Faust's)
        """Return the key, which a batch has none of."""
        return message.key

    def loads_value(self, app: Any, message: Message, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ARG002 (Faust's)
        """Return the records."""
        return message.value


class BatchApp(faust.App):
    """A Faust application on the batch transport."""

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)
