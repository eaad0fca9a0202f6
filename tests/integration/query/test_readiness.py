"""Readiness of query, with ClickHouse reachable and unreachable."""

from pathlib import Path

from services.query.service import build, key_file
from services.query.settings import QuerySettings
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables
from tests.support.eventually import eventually
from tests.support.stack.local_servers import OwnWarehouse


async def test_query_is_ready_for_as_long_as_clickhouse_answers(
    own_warehouse: OwnWarehouse, tmp_path: Path
) -> None:
    """Before anybody has asked anything, through an outage, and after it."""
    settings = own_warehouse.settings.replace(clickhouse_database="default")
    await create_tables(settings)
    own = QuerySettings(**{name: getattr(settings, name) for name in ClickHouseSettings.model_fields})
    service = build(own, key_file(tmp_path / "keys.toml"))
    assert service.health.ready()[0] == 503

    await service.start()
    try:
        await eventually(lambda: service.health.ready()[0] == 200)
        await own_warehouse.kill()
        await eventually(lambda: service.health.ready()[0] == 503)
        assert service.health.ready()[1]["failing"]["store"].startswith("ClickHouse: ")
        assert service.health.live()[0] == 200
        await own_warehouse.start()
        await eventually(lambda: service.health.ready()[0] == 200)
        service.tasks[0].cancel()
        await eventually(
            lambda: service.health.live() == (503, {"status": "failing", "failing": {"tasks": "watch"}})
        )
    finally:
        await service.stop()
