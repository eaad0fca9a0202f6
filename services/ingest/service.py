"""The parts of ingest, put together; started and stopped in order."""

import time
from dataclasses import dataclass
from pathlib import Path

from services.ingest.body import Bodies
from services.ingest.bulk import Batches
from services.ingest.core.rate_limit import Rates
from services.ingest.erase_log import EraseLog
from services.ingest.event_builder import Intake
from services.ingest.event_log import Log
from services.ingest.freshness import Freshness
from services.ingest.handler import Door
from services.ingest.known_requests import Knowledge, StoredKnowledge
from services.ingest.lookups import ClickHouseLookups
from services.ingest.metrics import KEYS_DAMAGED
from services.ingest.publisher import Publisher
from services.ingest.settings import IngestSettings
from services.ingest.single import Singles
from services.runtime.http.core.proxies import Proxies
from services.runtime.http.health import Health
from services.runtime.http.keys import Guard, KeyFile

STOP_SECONDS = 2.0
"""How long Kafka may take to answer for the last events when the process stops."""


def key_file(path: Path) -> KeyFile:
    """Return the key file of this process."""
    return KeyFile(path, time.monotonic)


@dataclass
class Service:
    """Ingest without its HTTP server.  A test that brings its own log starts and stops that itself."""

    door: Door
    health: Health
    guard: Guard
    root: str
    """The path prefix under which a proxy publishes it, or empty."""

    async def start(self) -> None:
        """Start nothing."""

    async def stop(self) -> None:
        """Stop nothing."""


@dataclass
class Connected(Service):
    """Ingest with its connections to Kafka and to ClickHouse."""

    publisher: Publisher
    lookups: ClickHouseLookups
    freshness: Freshness
    eager: bool
    """Lookups are wanted from the first vote on; else they are connected when one is needed."""

    async def start(self) -> None:
        """Begin to look for Kafka and ClickHouse.  Neither needs to be there yet."""
        self.publisher.start()
        if self.eager:
            self.lookups.connect_soon()

    async def stop(self) -> None:
        """Stop in the order of the flow: what was taken is written before the connections go."""
        await self.publisher.stop(STOP_SECONDS)
        await self.freshness.stop()
        await self.lookups.stop()


def build(settings: IngestSettings, keys: KeyFile) -> Connected:
    """Return the service that the settings describe."""
    publisher, lookups = Publisher(settings), ClickHouseLookups(settings)
    freshness = Freshness(settings, lookups, publisher.partition_of, lambda: publisher.generation)
    knowledge = StoredKnowledge(settings, lookups, freshness)
    parts = assemble(settings, publisher, knowledge, keys)
    eager = settings.ingest_lookup or settings.ingest_known_requests
    return Connected(parts.door, parts.health, parts.guard, parts.root, publisher, lookups, freshness, eager)


def assemble(settings: IngestSettings, log: Log, knowledge: Knowledge, keys: KeyFile) -> Service:
    """Return a service around a log that somebody else starts and stops."""
    guard = Guard(keys)
    intake = Intake(log)
    erase_log = EraseLog(settings)
    singles = Singles(
        intake,
        knowledge,
        erase_log,
        known_requests=settings.ingest_known_requests,
        find_repeats=settings.ingest_lookup,
    )
    door = Door(
        guard,
        Bodies(settings.ingest_max_upload_bytes, settings.ingest_body_seconds),
        Rates(settings.ingest_events_per_second),
        singles,
        Batches(intake, erase_log),
        Proxies(settings.ingest_trusted_proxies),
    )
    health = Health(
        liveness={"log": log.liveness},
        readiness={"log": log.readiness, "keys": keys.refusal},
        warnings={"keys": keys.warning},
    )
    KEYS_DAMAGED.set_function(lambda: bool(keys.refusal() or keys.warning()))
    return Service(door, health, guard, settings.ingest_root_path)
