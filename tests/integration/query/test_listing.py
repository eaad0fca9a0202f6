"""`GET /v1/feedback` over a real engine."""

from pathlib import Path

from services.runtime.settings import ClickHouseSettings
from tests.support.query import client_of, query_over
from tests.support.tables import create_tables, insert, state_row


async def test_pages_follow_one_another(clickhouse_settings: ClickHouseSettings, tmp_path: Path) -> None:
    """Newest first, each row once, and no cursor after the last page."""
    await create_tables(clickhouse_settings)
    rows = [
        state_row(f"r{i}", i, last_received_at=f"2026-11-22T09:00:{i:02d}.000001Z", data={"rating": i})
        for i in range(10)
    ]
    await insert(clickhouse_settings, "feedback_state", rows)
    async with client_of(query_over(clickhouse_settings, tmp_path)) as client:
        seen: list[str] = []
        cursor = ""
        while True:
            answer = await client.get("/v1/feedback", params={"limit": 4, "cursor": cursor})
            assert answer.status_code == 200, answer.text
            seen += [item["request_id"] for item in answer.json()["items"]]
            cursor = answer.json()["next_cursor"]
            if cursor is None:
                break

    assert seen == [f"r{i}" for i in reversed(range(10))]
