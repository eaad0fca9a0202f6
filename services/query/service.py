"""The parts of the query service, put together; started and stopped in order."""

import time
from dataclasses import dataclass
from pathlib import Path

from services.query.access import Access
from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore
from services.runtime.health import Health
from services.runtime.keys import KeyFile


def key_file(path: Path) -> KeyFile:
    """Return the key file of this process."""
    return KeyFile(path, time.monotonic)


@dataclass
class Service:
    """What the routes need."""

    settings: QuerySettings
    access: Access
    store: ClickHouseStore
    health: Health

    async def start(self) -> None:
        """Start what works beside the requests.  No server needs to be there yet."""

    async def stop(self) -> None:
        """Disconnect."""
        await self.store.stop()


def build(settings: QuerySettings, keys: KeyFile) -> Service:
    """Return the service that the settings describe."""
    store = ClickHouseStore(settings)
    health = Health(readiness={"store": lambda: store.problem})
    return Service(settings, Access(keys, settings.query_session_seconds), store, health)
