"""A Faust transport that delivers whole batches of records to an agent.

Faust wraps every record in a message and an event and tracks its acknowledgement, which costs many times as
much as merging it; `bench/faust_batches.py` measures that.  Here one Faust message is all that one fetch
returned from one partition: its value is a `Fetched`, which is decoded piece by piece as it is merged.

Offsets are committed only inside the transaction that holds a batch's results.  Faust's own commit, which
follows acknowledgements, also of events whose agent failed, does nothing here.

A contract test pins each name of Faust that is overridden; most of them are private.
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
        """Read only committed records, as every other consumer of the events does."""
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
    """Makes one message of what one fetch returned from one partition."""

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
        """Clear Faust's lists of acknowledged offsets without a commit."""
        for offsets in (self._acked, self._acked_index, self._gap):
            offsets.clear()
        return False

    def on_buffer_full(self, tp: TP) -> None:
        """Rely on the full queue to block the fetcher.

        Faust would stop fetching the partition, and would sleep for a second whenever no partition remains.
        """

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: `watchdog` checks committed offsets; Faust would miss its own commits."""


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with another consumer."""

    Consumer = BatchConsumer


class BatchSchema(faust.Schema[Any, Any]):
    """Passes the list of records through as it is."""

    def loads_key(self, app: Any, message: Message, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ARG002 (Faust's)
        """Return the key, None for a batch."""
        return message.key

    def loads_value(self, app: Any, message: Message, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ARG002 (Faust's)
        """Return the fetched records."""
        return message.value


class BatchApp(faust.App):
    """A Faust application on the batch transport."""

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)
