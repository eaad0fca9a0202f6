"""Ingest as a real server, on a real Kafka."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from schemas.topics import Topology
from services.ingest.app import ConnectedIngest, IngestApp, build, key_file
from services.ingest.settings import IngestSettings
from services.runtime.http.keys import Scope
from services.runtime.settings import KafkaSettings
from tests.support.eventually import eventually
from tests.support.http.server import serving
from tests.support.ingest.app import new_key
from tests.support.kafka.topic_reader import read_topic
from tests.support.kafka.topics import create_topics


@dataclass
class Running:
    """A server that runs: where it is, its keys by tenant, and what is in its log."""

    url: str
    settings: IngestSettings
    service: ConnectedIngest
    keys: dict[str, str]

    def client(self, tenant: str = "default") -> httpx.AsyncClient:
        """Return a client with a tenant's key."""
        headers = {"authorization": f"Bearer {self.keys[tenant]}"} if self.keys else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60)

    async def log(self) -> list[list[dict[str, Any]]]:
        """Return the events of every partition, in order."""
        topic = Topology(self.settings.kafka_topic_generation).events.name
        partitions = await read_topic(self.settings, topic)
        return [[orjson.loads(record.value) for record in partition] for partition in partitions]

    async def at(self, version: str) -> list[dict[str, Any]]:
        """Return the events, of all partitions, that have a version."""
        offset = int(version) & (1 << 48) - 1
        assert int(version) >> 48 == self.settings.kafka_topic_generation
        return [partition[offset] for partition in await self.log() if offset < len(partition)]


def settings_for(kafka: KafkaSettings, home: Path, **changes: Any) -> IngestSettings:
    """Return settings that lead to a Kafka."""
    return IngestSettings(**{**kafka.model_dump(), "afterword_home": home, "ingest_lookup": False, **changes})


async def ready(url: str, status: int = 200, within: float = 60) -> None:
    """Wait until `/readyz` answers with a status."""

    async def answers() -> bool:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{url}/readyz")).status_code == status

    await eventually(answers, within=within)


@pytest.fixture(scope="session")
async def ingest(
    kafka: KafkaSettings, generations: Iterator[int], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """One server for all tests of this folder that leave it as it was: with keys, and topics of its own."""
    home = tmp_path_factory.mktemp("ingest")
    keys = {
        "default": new_key(home),
        "acme": new_key(home, tenant="acme"),
        "admin": new_key(home, Scope.ADMIN),
    }
    topology = Topology(next(generations))
    await create_topics(kafka, topology)
    settings = settings_for(kafka.replace(kafka_topic_generation=topology.generation), home)
    service = build(settings, key_file(settings.keys_file))
    async with serving(IngestApp(service)) as url:
        await ready(url)
        yield Running(url, settings, service, keys)
