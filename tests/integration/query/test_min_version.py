"""`min_version` and `wait`, over a real Kafka and a real ClickHouse engine whose stages the test moves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from services.query.app import QueryApp
from services.query.metrics import POSITION_READS
from services.runtime.fairness import share_of
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.support.eventually import eventually
from tests.support.merger.manual_stages import Stages
from tests.support.query.app import client_of, code_of, faults_of, query_over, reading_key

NOWHERE = "127.0.0.1:1"
MOST = 32
"""Readers that may wait."""


@pytest.fixture
async def stages(kafka_settings: KafkaSettings, query_tables: ClickHouseSettings, tenant: str) -> Stages:
    """A request's way through topics of this test's own."""
    return Stages(kafka_settings, query_tables, tenant)


@pytest.fixture
def app(stages: Stages, tmp_path: Any) -> QueryApp:
    """The service over these topics."""
    kafka = stages.kafka.model_dump(include=set(KafkaSettings.model_fields))
    return query_over(stages.clickhouse, tmp_path, **kafka, query_max_waiting=MOST)


@pytest.fixture
async def reader(app: QueryApp, stages: Stages, tmp_path: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A reader of the tenant's rows."""
    async with client_of(app, reading_key(tmp_path, tenant=stages.tenant)) as client:
        yield client


async def asks(reader: httpx.AsyncClient, version: int, wait: str = "") -> dict[str, Any]:
    """Ask what became of a version, and return the row or the problem with it."""
    parameters = {"min_version": str(version), **({"wait": wait} if wait else {})}
    answer = await reader.get("/v1/feedback/r1", params=parameters)
    assert answer.status_code in (200, 404), answer.text
    return dict(answer.json())


async def test_each_stage_that_is_behind_is_named_until_the_last_has_passed(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """One stage after the other moves; only then the outcome is told, and not before."""
    await stages.log()
    version = stages.version(0)
    assert "merger" in (await asks(reader, version))["outcome_detail"]

    await stages.write_state()
    await stages.give_up()
    await stages.merge(1)
    assert "its row" in (await asks(reader, version))["outcome_detail"]

    await stages.store_row(0)
    await stages.position(stages.topology.state)
    found = await asks(reader, version)
    assert (found["outcome"], found["reached"]) == ("pending", True)
    assert "its event" in found["outcome_detail"]

    await stages.store_event(0)
    await stages.position(stages.topology.events)
    found = await asks(reader, version)
    assert (found["outcome"], found["reached"]) == ("pending", True)
    assert "dead letters" in found["outcome_detail"]

    await stages.position(stages.topology.events_dlq)
    found = await asks(reader, version)
    assert (found["outcome"], found["reached"], found["version"]) == ("merged", True, str(version))


async def test_a_row_in_an_open_transaction_is_waited_for(stages: Stages, reader: httpx.AsyncClient) -> None:
    """The merger's offset may be committed before its rows can be read: their committed end says nothing."""
    await stages.log()
    async with stages.open_transaction():
        await stages.merge(1)
        await stages.store_event(0)
        await stages.position(stages.topology.events)

        assert not (await asks(reader, stages.version(0)))["reached"]

    await stages.store_row(0)
    await stages.pass_all()
    assert (await asks(reader, stages.version(0)))["outcome"] == "merged"


async def test_who_waits_is_answered_as_soon_as_it_has_passed(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """Long before the time is over."""
    await stages.log()
    waiting = asyncio.create_task(asks(reader, stages.version(0), wait="30s"))
    await stages.write_state()
    await stages.merge(1)
    await stages.store_row(0)
    await stages.store_event(0)
    assert not waiting.done()

    await stages.pass_all()

    async with asyncio.timeout(15):
        assert (await waiting)["outcome"] == "merged"


async def test_a_wait_that_is_over_is_answered_as_pending(stages: Stages, reader: httpx.AsyncClient) -> None:
    """With the row as it is by then."""
    await stages.log(2)
    await stages.store_row(0)

    found = await asks(reader, stages.version(1), wait="300ms")

    assert (found["outcome"], found["reached"]) == ("pending", False)
    assert found["version"] == str(stages.version(0))


async def test_a_dead_letter_is_reported_as_soon_as_it_is_stored(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """Nothing that is still on the way can change that."""
    await stages.log()
    await stages.store_letter(0)

    found = await asks(reader, stages.version(0))

    assert (found["outcome"], found["outcome_reason"], found["reached"]) == (
        "dead_lettered",
        "row_too_large",
        False,
    )


async def test_a_row_that_clickhouse_refused_is_reported(stages: Stages, reader: httpx.AsyncClient) -> None:
    """The merger merged the event; the sink could not store the row that came of it."""
    await stages.log()
    await stages.write_state()
    await stages.merge(1)
    await stages.store_event(0)
    await stages.pass_all()
    await stages.store_letter(
        0,
        dlq_topic=stages.topology.state_dlq.name,
        stage="sink",
        reason="refused_by_clickhouse",
        original_topic=stages.topology.state.name,
        raw=f'{{"version":{stages.version(0)}}}',
    )

    found = await asks(reader, stages.version(0))

    assert (found["outcome"], found["outcome_reason"]) == ("dead_lettered", "refused_by_clickhouse")


async def test_a_repeat_is_recognised_by_the_history(stages: Stages, reader: httpx.AsyncClient) -> None:
    """Of two events with one id the second is ignored; both have passed."""
    await stages.log(2)
    await stages.merge(2)
    for offset in range(2):
        await stages.store_event(offset, number=7)
    await stages.store_row(1)
    await stages.pass_all()

    outcomes = [(await asks(reader, stages.version(offset)))["outcome"] for offset in range(2)]

    assert outcomes == ["merged", "ignored"]


async def test_many_who_wait_share_the_readings(stages: Stages, reader: httpx.AsyncClient) -> None:
    """Twenty wait for a second together, and the positions are read about ten times, not two hundred."""
    await stages.log()
    before = _readings()

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(asks(reader, stages.version(0), wait="1s"))

    assert 1 <= _readings() - before <= 15


async def test_without_waiting_readers_nothing_is_read(stages: Stages, reader: httpx.AsyncClient) -> None:
    """A row is read without a look at any position."""
    await stages.store_row(0)
    before = _readings()

    assert (await reader.get("/v1/feedback/r1")).status_code == 200

    assert _readings() == before


async def test_more_readers_than_may_wait_get_a_retry_after(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """429, with a time to try again: some room is left for other tenants.  Who was let in is served."""
    await stages.log()
    share = share_of(MOST)
    waiting = [asyncio.create_task(asks(reader, stages.version(0), wait="30s")) for _ in range(share)]
    await eventually(lambda: REGISTRY.get_sample_value("query_waiting_readers") == share, every=0.01)

    answer = await reader.get("/v1/feedback/r1", params={"min_version": stages.version(0)})

    assert (answer.status_code, code_of(answer)) == (429, "rate_limited")
    await stages.merge(1)
    await stages.store_row(0)
    await stages.store_event(0)
    await stages.pass_all()
    assert {one["outcome"] for one in await asyncio.gather(*waiting)} == {"merged"}


async def test_who_waits_when_the_service_stops_is_answered_as_if_the_time_was_over(
    app: QueryApp, stages: Stages, reader: httpx.AsyncClient
) -> None:
    """At once: what it took it finishes, and nobody is turned away."""
    await stages.log()
    asked = {"min_version": str(stages.version(0)), "wait": "30s"}
    waiting = asyncio.create_task(reader.get("/v1/feedback/r1", params=asked))
    await eventually(lambda: REGISTRY.get_sample_value("query_waiting_readers") == 1, every=0.01)

    app.stopping()

    async with asyncio.timeout(10):
        answer = await waiting
    assert (answer.status_code, answer.json()["outcome"]) == (404, "pending")


async def test_versions_that_no_acknowledgement_named_are_refused(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """Beyond the log's end, of a later generation, or no version at all: nobody waits for those."""
    await stages.log()

    async def fault(**parameters: Any) -> dict[str, str]:
        return dict(faults_of(await reader.get("/v1/feedback/r1", params=parameters)))

    assert "does not reach" in (await fault(min_version=stages.version(1), wait="30s"))["min_version"]
    later = (stages.topology.generation + 1) << 48
    assert "generation" in (await fault(min_version=later, wait="30s"))["min_version"]
    for version in ("-1", "1.5", "x", str(2**64), "٣"):
        assert "acknowledgement" in (await fault(min_version=version))["min_version"]
    for wait in ("2", "s", "1m", "-1s", "1e3s", "nan s"):
        assert "2s or 500ms" in (await fault(min_version=1, wait=wait))["wait"]
    assert "at most 30s" in (await fault(min_version=1, wait="30.1s"))["wait"]
    assert "min_version" in (await fault(wait="1s"))["wait"]
    assert "did you mean min_version" in (await fault(min_versoin="1"))["min_versoin"]


async def test_a_version_of_an_earlier_generation_is_read_from_the_tables(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """Its topics are not read any more; what was not stored by then is never promised."""
    earlier = (stages.topology.generation - 1) << 48
    stored = {"version": earlier, "log_offset": earlier}
    await stages.store_event(0, **stored)

    found = await asks(reader, earlier, wait="30s")
    assert found["outcome"] == "merged"

    found = await asks(reader, earlier | 5, wait="30s")
    assert (found["outcome"], found["reached"]) == ("pending", False)
    assert "will not be" in found["outcome_detail"]


async def test_without_kafka_nothing_is_claimed_and_rows_are_read(
    query_tables: ClickHouseSettings, tenant: str, tmp_path: Any
) -> None:
    """The row is there, so it is answered; what became of the event, nobody can tell."""
    kafka = KafkaSettings(kafka_bootstrap_servers=NOWHERE, kafka_topic_generation=1)
    stages = Stages(kafka, query_tables, tenant)
    await stages.store_row(3)
    key = reading_key(tmp_path, tenant=tenant)
    app = query_over(query_tables, tmp_path, kafka_bootstrap_servers=NOWHERE, kafka_topic_generation=1)
    async with client_of(app, key) as reader:
        old, new = [await asks(reader, stages.version(offset), wait="500ms") for offset in (3, 4)]
        watermark = await reader.get("/v1/watermark")
        page = await reader.get("/pipeline")
        ready = await reader.get("/readyz")

    assert [(one["outcome"], one["reached"]) for one in (old, new)] == [("pending", True), ("pending", False)]
    assert "Kafka is unreachable" in new["outcome_detail"]
    assert (watermark.status_code, code_of(watermark)) == (503, "log_unavailable")
    assert page.status_code == 200
    assert "A server is unreachable" in page.text
    assert ready.status_code == 200


async def test_the_watermark_passes_what_was_acknowledged_once_it_is_stored(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """Not while one partition is behind; and who waits is told when it has passed."""
    await stages.log(2)
    await stages.write_state()
    await stages.merge(1)
    await stages.pass_all()

    behind = (await reader.get("/v1/watermark")).json()
    assert (behind["reached"], behind["queryable_before"]) == (False, None)
    assert {stage["name"]: stage["lag"] for stage in behind["stages"]} == {
        "merger": 1,
        "sink-state": 0,
        "sink-events": 0,
        "sink-dlq": 0,
    }
    assert {stage["consumers"] for stage in behind["stages"]} == {0}

    waiting = asyncio.create_task(reader.get("/v1/watermark", params={"wait": "30s"}))
    await stages.merge(2)
    async with asyncio.timeout(15):
        passed = (await waiting).json()

    assert passed["reached"]
    assert passed["queryable_before"] >= passed["asked_at"] > behind["asked_at"]
    own = passed["partitions"][stages.partition]
    assert (own["logged"], own["merged"]) == (2, 2)
    assert own["queryable_below_version"] == str(stages.version(2))
    assert "Not running" in (await reader.get("/pipeline")).text


def _readings() -> float:
    return sum(
        sample.value
        for metric in POSITION_READS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )
