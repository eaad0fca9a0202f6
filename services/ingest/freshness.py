"""Whether ClickHouse has every event that the log has of a request: a barrier through all stages."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.identity import event_key
from schemas.topics import Topology
from services.ingest.lookups import ClickHouseLookups, LookupSkipped
from services.ingest.settings import IngestSettings
from services.runtime.core.backoff import delays
from services.runtime.kafka.clients import connect, consumer

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

log = structlog.get_logger()


class Freshness:
    """Reads the positions of the merger and of the sink.  It joins no group and commits nothing."""

    def __init__(
        self,
        settings: IngestSettings,
        lookups: ClickHouseLookups,
        partition_of: Callable[[bytes], int | None],
        generation: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._lookups = lookups
        self._partition_of = partition_of
        self._generation = generation
        self._topology = Topology(generation())
        self._consumer: AIOKafkaConsumer | None = None
        self._connecting: asyncio.Task[None] | None = None

    async def up_to_date(self, tenant: str, request_id: str) -> bool:
        """Tell whether everything logged about a request before this call can be read in ClickHouse.

        In this order: the end of the events, the merger's position past it, then the end of the state,
        the sink's position past that.  Raises LookupSkipped when it cannot be told.
        """
        await self._turn()
        partition = self._partition_of(event_key(tenant, request_id))
        if self._consumer is None or partition is None:
            self._connect_soon()
            raise LookupSkipped("down")
        events = TopicPartition(self._topology.events.name, partition)
        state = TopicPartition(self._topology.state.name, partition)
        try:
            logged = (await self._consumer.end_offsets([events]))[events]
            if (await self._consumer.committed(events) or 0) < logged:
                return False
            merged = (await self._consumer.end_offsets([state]))[state]
        except (KafkaError, OSError) as error:
            raise LookupSkipped("down") from error
        return await self._lookups.position(state.topic, partition) >= int(merged)

    async def _turn(self) -> None:
        """Ask the group of the generation that events go to."""
        if self._topology.generation != self._generation():
            await self.stop()
            self._topology, self._consumer, self._connecting = Topology(self._generation()), None, None

    @property
    def connected(self) -> bool:
        """Kafka was reached."""
        return self._consumer is not None

    def _connect_soon(self) -> None:
        """Find Kafka in the background: only deployments that ask for known requests need the connection."""
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="freshness")

    async def _connect(self) -> None:
        for delay in delays():
            asking = consumer(self._settings, "ingest-freshness", group_id=self._topology.merger_group)
            try:
                await connect(asking)
            except (KafkaError, OSError, TimeoutError) as error:
                await asking.stop()
                log.warning("freshness not connected", error=repr(error))
                await asyncio.sleep(delay)
            else:
                self._consumer = asking
                return

    async def stop(self) -> None:
        """Disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.stop()
