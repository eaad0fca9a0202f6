"""What merger and sink refuse, as it is written down and as operators see it."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from schemas.tables import DEPLOYMENTS
from services.local.gauge import tables as counted
from services.local.settings import StatusSettings
from services.pipeline.core.continuity import BEYOND, ContinuityError, ContinuityProblem, HeldPosition
from services.pipeline.refusals import Refusals, standing
from services.runtime.clickhouse.client import connect
from services.runtime.kafka.core.log_mark import LogMark
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert
from tests.support.query.app import client_of, query_over, reading_key

CUT = ContinuityProblem(
    BEYOND,
    "Offset 9 of feedback-events/0 is beyond the log's end (5).",
    "run `afterword recover`",
    HeldPosition("committed by a-group", "feedback-events", 0, 9, LogMark(8, "0123456789abcdef")),
)
WRONG = ContinuityProblem("cluster_differs", "This Kafka cluster is another one.", "correct the address")


async def refused(settings: ClickHouseSettings) -> list[ContinuityProblem]:
    """Return what stands, as a service reads it at its start."""
    client = await connect(settings, database="default")
    try:
        return await standing(client, settings.clickhouse_database, 0)
    finally:
        await client.close()


def refusals(settings: ClickHouseSettings) -> Refusals:
    """Return what a service that has just been started keeps of its refusals."""
    return Refusals(settings, "merger", Gauge("refusals", "None.", registry=CollectorRegistry()))


async def test_a_refusal_is_read_by_every_part_until_the_service_works(
    clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """With its position and mark, through a restart, in `afterword status` and on the page."""
    settings = clickhouse_settings
    await create_tables(settings)
    await insert(settings, DEPLOYMENTS, [{"generation": 0, "cluster_id": "one", "partitions": 4}])
    own = refusals(settings)

    await own.note(ContinuityError([CUT]), 0)

    assert await refused(settings) == [CUT]
    assert "`afterword recover`" in str(own.complaint())
    status = StatusSettings(
        clickhouse_url=settings.clickhouse_url, clickhouse_database=settings.clickhouse_database
    )
    async with counted(status) as asked:
        assert (await asked.count()).refusals == (f"merger: {CUT.text} {CUT.mend}",)
    app = query_over(settings, tmp_path, kafka_bootstrap_servers="127.0.0.1:1")
    async with client_of(app, reading_key(tmp_path, tenant="acme")) as reader:
        assert "The merger refuses to continue" in (await reader.get("/pipeline")).text

    await refusals(settings).clear(0)

    assert await refused(settings) == []
    async with counted(status) as asked:
        assert (await asked.count()).refusals == ()


async def test_a_refusal_that_a_restart_fixes_is_recorded_and_ends_the_process(
    clickhouse_settings: ClickHouseSettings,
) -> None:
    """It is shown, and does not stand once the facts are right."""
    await create_tables(clickhouse_settings)
    own = refusals(clickhouse_settings)

    with pytest.raises(ContinuityError, match="is another one"):
        await own.note(ContinuityError([WRONG]), 0)

    assert await refused(clickhouse_settings) == []
