"""Rows of a running stack, asked for in SQL as an analyst would."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings
from tests.support.eventually import eventually


class Found(NamedTuple):
    """The latest state of one request, as the view shows it."""

    data: dict[str, Any]
    request: dict[str, Any]
    sources: list[str]


async def ask(settings: ClickHouseSettings, query: str, **parameters: Any) -> Sequence[Sequence[Any]]:
    """Return the rows of one statement."""
    client = await connect(settings)
    try:
        return (await client.query(query, parameters=parameters)).result_rows
    finally:
        await client.close()


async def found(settings: ClickHouseSettings, prefix: str) -> dict[str, Found]:
    """Return every row whose request id begins with the prefix; fails if a request has more than one."""
    query = (
        "SELECT request_id, data, request, sources FROM feedback WHERE startsWith(request_id, {start:String})"
    )
    rows = await ask(settings, query, start=prefix)
    by_id = {row[0]: Found(json.loads(row[1]), json.loads(row[2]), list(row[3])) for row in rows}
    assert len(by_id) == len(rows), "a request has more than one row"
    return by_id


async def shows(
    settings: ClickHouseSettings, prefix: str, expected: dict[str, tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    """Wait until exactly these requests are there, with exactly this data and these facts."""

    async def check() -> bool:
        rows = await found(settings, prefix)
        actual = {name: (row.data, row.request) for name, row in rows.items()}
        differing = [name for name in {*actual, *expected} if actual.get(name) != expected.get(name)]
        shown = {name: (actual.get(name), expected.get(name)) for name in differing[:3]}
        assert not differing, f"{len(differing)} of {len(expected)} differ (found, expected): {shown}"
        return True

    await eventually(check, within=60, every=0.3)
