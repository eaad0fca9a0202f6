"""The parts of the query service, put together; started and stopped in order."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from services.query.access import Access
from services.query.live_updates import Live
from services.query.metrics import KEYS_DAMAGED
from services.query.positions import Positions
from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore
from services.query.watch import watch
from services.runtime.http.core.sign_in_limit import SignInLimit
from services.runtime.http.health import Health
from services.runtime.http.keys import KeyFile


def key_file(path: Path) -> KeyFile:
    """Return the key file of this process."""
    return KeyFile(path, time.monotonic)


@dataclass
class Service:
    """What the routes need."""

    settings: QuerySettings
    access: Access
    store: ClickHouseStore
    positions: Positions
    live: Live
    health: Health
    attempts: SignInLimit = field(default_factory=SignInLimit)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    """What works beside the requests."""

    async def start(self) -> None:
        """Start what works beside the requests.  No server needs to be there yet."""
        self.tasks.append(asyncio.create_task(watch(self.store), name="watch"))

    async def stop(self) -> None:
        """End that, and disconnect."""
        self.live.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.positions.stop()
        await self.store.stop()

    def ended(self) -> str | None:
        """Tell which of the tasks that should never end have ended."""
        return ", ".join(sorted(task.get_name() for task in self.tasks if task.done())) or None


def build(settings: QuerySettings, keys: KeyFile) -> Service:
    """Return the service that the settings describe."""
    store = ClickHouseStore(settings)
    health = Health(
        readiness={"store": lambda: store.problem, "keys": keys.refusal}, warnings={"keys": keys.warning}
    )
    KEYS_DAMAGED.set_function(lambda: bool(keys.refusal() or keys.warning()))
    access = Access(keys, settings.query_session_seconds)
    service = Service(settings, access, store, Positions(settings, store), Live(store, settings), health)
    health.liveness["tasks"] = service.ended
    return service
