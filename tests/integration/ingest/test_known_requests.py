"""Lookups in a real ClickHouse engine: what they find, and that no vote ever waits for them in vain."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from schemas.identity import event_key, partition_of
from schemas.tables import FEEDBACK_STATE, SINK_POSITIONS
from schemas.topics import Topology
from services.ingest.app import IngestApp, build, key_file
from services.ingest.known_requests import ClickHouseLookups, LookupSkipped, StoredRequest
from services.ingest.metrics import LOOKUPS
from services.ingest.settings import IngestSettings
from services.local.ports import free_port
from services.runtime.kafka.clients import client_options
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.integration.ingest.conftest import Running, ready
from tests.support.clickhouse.tables import create_tables, insert, state_row
from tests.support.eventually import eventually
from tests.support.http.server import serving

VOTE = {"message_id": "m", "rating": "positive", "comment": "x"}
SAME = {"rating": "positive", "comment": "x"}
SLOW = 30.0
"""Seconds that a lookup may take on a machine that is busy with everything else."""


@pytest.fixture
async def tables(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """A database with all tables."""
    await create_tables(clickhouse_settings)
    return clickhouse_settings


@pytest.fixture
async def lookups(tables: ClickHouseSettings, tmp_path: Path) -> AsyncIterator[ClickHouseLookups]:
    """Lookups that are connected."""
    settings = IngestSettings(**tables.model_dump(), afterword_home=tmp_path, ingest_max_lookups=1)
    made = ClickHouseLookups(settings)
    made.connect_soon()
    await eventually(lambda: made.connected, within=60)
    yield made
    await made.stop()


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(
    kafka_settings: KafkaSettings, tables: ClickHouseSettings, tmp_path: Path
) -> AsyncIterator[Start]:
    """Start an ingest on a real Kafka and these tables."""
    async with AsyncExitStack() as stack:

        async def started(**changes: Any) -> Running:
            known = {**kafka_settings.model_dump(), **tables.model_dump(), "afterword_home": tmp_path}
            settings = IngestSettings(**{**known, "ingest_lookup_seconds": 10.0, **changes})
            service = build(settings, key_file(settings.keys_file))
            url = await stack.enter_async_context(serving(IngestApp(service)))
            await ready(url)
            return Running(url, settings, service, {})

        yield started


def counted(outcome: str) -> float:
    """Return how many lookups have ended like this."""
    return sum(
        sample.value
        for metric in LOOKUPS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels == {"outcome": outcome}
    )


@pytest.mark.parametrize("request_id", ["plain", "it's", 'a"b\\c', "{tenant:String}", "ü/🙂 \\' --", "%27"])
async def test_a_row_is_found_by_its_exact_id(
    lookups: ClickHouseLookups, tables: ClickHouseSettings, request_id: str
) -> None:
    """Whatever characters it has; rows of other tenants are none of ours."""
    rows = [
        state_row(request_id, 7, data={"rating": 5}, request={"model": "m"}),
        state_row(request_id + "x", 8),
        *(state_row(request_id, 9, tenant=tenant, data={"rating": 1}) for tenant in ("another", "zone")),
    ]
    await insert(tables, FEEDBACK_STATE, rows)

    assert await lookups.stored("default", request_id) == StoredRequest(7, {"rating": 5}, has_facts=True)
    assert await lookups.stored("default", request_id + "y") is None


async def test_the_newest_row_counts_and_an_erased_one_is_gone(
    lookups: ClickHouseLookups, tables: ClickHouseSettings
) -> None:
    """As analysts see it."""
    await insert(tables, FEEDBACK_STATE, [state_row("a", 1, data={"rating": 1})])
    await insert(tables, FEEDBACK_STATE, [state_row("a", 2, data={"rating": 2})])
    await insert(tables, FEEDBACK_STATE, [state_row("b", 1)])
    await insert(tables, FEEDBACK_STATE, [state_row("b", 2, is_deleted=1)])

    assert await lookups.stored("default", "a") == StoredRequest(2, {"rating": 2}, has_facts=False)
    assert await lookups.stored("default", "b") is None


async def test_one_lookup_too_many_is_skipped(lookups: ClickHouseLookups) -> None:
    """Votes never queue for ClickHouse."""
    outcomes = [lookups.stored("default", request_id) for request_id in ("a", "b")]
    first, second = await asyncio.gather(*outcomes, return_exceptions=True)

    assert first is None
    assert isinstance(second, LookupSkipped)
    assert second.reason == "busy"
    assert await lookups.stored("default", "b") is None


async def test_a_stored_vote_is_208_and_written_again(start: Start, tables: ClickHouseSettings) -> None:
    """What was stored before is found; a changed vote is 200."""
    ingest = await start()
    async with ingest.client() as client:
        await client.post("/v1/feedback/", json=VOTE)
        await insert(tables, FEEDBACK_STATE, [state_row("m", 1, version=0, data=SAME)])
        again = await _until(client, 208)
        other = await client.post("/v1/feedback/", json={**VOTE, "comment": "y"})

    assert again.json()["status"] == "already_reported"
    assert other.status_code == 200
    events = [event["event_id"] for partition in await ingest.log() for event in partition]
    assert {again.json()["event_id"], other.json()["event_id"]} <= set(events)


async def _until(client: httpx.AsyncClient, status: int) -> httpx.Response:
    """Vote until the lookup is made in time: connecting to ClickHouse continues behind a ready ingest."""
    answers: list[httpx.Response] = []

    async def voted() -> bool:
        answers.append(await client.post("/v1/feedback/", json=VOTE))
        return answers[-1].status_code == status

    await eventually(voted, within=SLOW)
    return answers[-1]


async def test_without_clickhouse_votes_are_accepted(start: Start) -> None:
    """And counted as skipped."""
    ingest = await start(clickhouse_url=f"http://127.0.0.1:{free_port()}")
    before = counted("down")
    async with ingest.client() as client:
        answer = await client.post("/v1/feedback/", json=VOTE)

    assert answer.status_code == 200
    assert counted("down") == before + 1


async def test_a_lookup_that_takes_too_long_is_cancelled(start: Start) -> None:
    """The vote is answered, and those right after it do not wait at all."""
    ingest = await start(ingest_lookup_seconds=1e-6)
    lookups = ingest.service.lookups
    await eventually(lambda: lookups.connected, within=60)
    slow, paused = counted("slow"), counted("paused")
    async with ingest.client() as client:
        answers = [await client.post("/v1/feedback/", json=VOTE) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert counted("slow") > slow
    assert counted("slow") + counted("paused") == slow + paused + 2


class Pipeline:
    """What the merger and the sink would have done, done by hand."""

    def __init__(self, kafka: KafkaSettings, tables: ClickHouseSettings, topology: Topology) -> None:
        self._kafka, self._tables, self._topology = kafka, tables, topology
        self._partition = partition_of(event_key("default", "m"), 4)

    async def merge(self, offset: int) -> None:
        """Commit that the events before an offset are merged."""
        consumer = AIOKafkaConsumer(
            **client_options(self._kafka, "tests"),
            group_id=self._topology.merger_group,
            enable_auto_commit=False,
        )
        partition = TopicPartition(self._topology.events.name, self._partition)
        consumer.assign([partition])
        await consumer.start()
        await consumer.commit({partition: offset})
        await consumer.stop()

    async def state(self) -> None:
        """Write one row to the state topic."""
        producer = AIOKafkaProducer(**client_options(self._kafka, "tests"))
        await producer.start()
        await producer.send_and_wait(self._topology.state.name, b"{}", key=b"t/r", partition=self._partition)
        await producer.stop()

    async def store(self, position: int) -> None:
        """Record that the state before a position is in ClickHouse."""
        await insert(
            self._tables,
            SINK_POSITIONS,
            [
                {
                    "route": "state",
                    "topic": self._topology.state.name,
                    "partition": self._partition,
                    "position": position,
                    "appended_at": "2026-11-22T08:00:00Z",
                }
            ],
        )


async def test_an_unknown_request_is_404_only_when_that_is_certain(
    start: Start, kafka_settings: KafkaSettings, tables: ClickHouseSettings, topology: Topology
) -> None:
    """Stage by stage: as long as anything of the log is not stored yet, feedback is accepted."""
    ingest = await start(ingest_known_requests=True)
    freshness = ingest.service.freshness
    pipeline = Pipeline(kafka_settings, tables, topology)
    async with ingest.client() as client:

        async def vote() -> int:
            return (await client.post("/v1/feedback/", json=VOTE)).status_code

        assert await vote() == 200  # nothing is known of the stages yet
        await eventually(lambda: freshness.connected, within=SLOW)
        assert await vote() == 200  # the first vote is not merged
        await pipeline.merge(2)
        assert await vote() == 404  # all of the log is stored, and no fact of the request
        await client.put("/v1/requests/m", json={"model": "x"})
        assert await vote() == 200  # the facts are not merged
        await pipeline.merge(4)
        await pipeline.state()
        assert await vote() == 200  # the state is not stored
        await pipeline.merge(5)
        await pipeline.store(1)
        assert await vote() == 404
        await insert(tables, FEEDBACK_STATE, [state_row("m", 1, data=SAME)])
        assert await vote() == 404  # feedback alone makes no request known
        await insert(tables, FEEDBACK_STATE, [state_row("m", 2, data=SAME, request={"model": "x"})])
        assert await vote() in (200, 208)

    assert sum(map(len, await ingest.log())) == 6  # what was refused is not there
