"""The parts of the query service: built from settings, started and stopped in order."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from services.query.access import Access
from services.query.live_updates import LiveUpdates
from services.query.metrics import KEYS_DAMAGED
from services.query.positions import Positions
from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore, watch_store
from services.runtime.http.core.sign_in_limit import SignInLimit
from services.runtime.http.health import Health
from services.runtime.http.keys import KeyFile


def key_file(path: Path) -> KeyFile:
    """Return the key file of this process."""
    return KeyFile(path, time.monotonic)


@dataclass
class QueryService:
    """The parts that routes use."""

    settings: QuerySettings
    access: Access
    store: ClickHouseStore
    positions: Positions
    live: LiveUpdates
    health: Health
    attempts: SignInLimit = field(default_factory=SignInLimit)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    """Background tasks."""

    async def start(self) -> None:
        """Start the background tasks; neither Kafka nor ClickHouse has to be up."""
        self.tasks.append(asyncio.create_task(watch_store(self.store), name="watch"))

    async def stop(self) -> None:
        """Stop the background tasks, and disconnect."""
        self.live.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.positions.stop()
        await self.store.stop()

    def ended(self) -> str | None:
        """Return the names of background tasks that ended, or None; none of them should."""
        return ", ".join(sorted(task.get_name() for task in self.tasks if task.done())) or None


def build(settings: QuerySettings, keys: KeyFile) -> QueryService:
    """Return the service for these settings."""
    store = ClickHouseStore(settings)
    health = Health(
        readiness={"store": lambda: store.problem, "keys": keys.refusal}, warnings={"keys": keys.warning}
    )
    KEYS_DAMAGED.set_function(lambda: bool(keys.refusal() or keys.warning()))
    access = Access(keys, settings.query_session_seconds)
    service = QueryService(
        settings, access, store, Positions(settings, store), LiveUpdates(store, settings), health
    )
    health.liveness["tasks"] = service.ended
    return service
