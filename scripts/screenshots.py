"""Take the pictures of the dashboard that the pages show: `make screenshots`.

The demo's traffic, spread over two months, is put straight into a ClickHouse of its own, as the sink would
store it; the query service runs over it as it always does.  The same seed makes the same rows, up to today.
"""

import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from playwright.async_api import Browser, async_playwright

from services.operations.demo.core.traffic import DemoCall, traffic
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, run
from tests.support.http.browser import ARGUMENTS, PHONE, executable
from tests.support.http.server import serving
from tests.support.query.app import query_over
from tests.support.stack.local_servers import OwnWarehouse

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SEED, DAYS, CALLS = 7, 60, 6600
ANSWERS = 1000
"""Calls after those, among which is what people say about the last questions."""
NO_FONT = re.compile("[\u0900-\u1fff\u2e80-\uffef]")
"""Scripts that few machines have fonts for: what is written in them would be boxes."""


class Picture(NamedTuple):
    """One picture: `press` is what is clicked first."""

    name: str
    path: str
    theme: str = "light"
    size: tuple[int, int] = (1280, 800)
    press: str = ""


def pictures(request_id: str) -> tuple[Picture, ...]:
    """Return all pictures; `request_id` is one with a history."""
    request = f"/requests/{request_id}"
    return (
        Picture("log-light", "/", press="tbody:has(.comment):has(.log-model a) [data-opens] >> nth=0"),
        Picture("log-dark", "/?sentiment=negative", "dark"),
        Picture("request-light", request),
        Picture("request-dark", request, "dark"),
        Picture("insights-light", "/insights"),
        Picture("insights-dark", "/insights", "dark"),
        Picture("phone-light", "/", size=PHONE),
        Picture("phone-dark", request, "dark", size=PHONE),
    )


def calls(now: datetime) -> Iterator[DemoCall]:
    """Return two months of calls, up to now: questions are spread, what follows on each keeps its pace."""
    start = now - timedelta(days=DAYS)
    told = list(islice(traffic(SEED, start), CALLS + ANSWERS))
    stretch = timedelta(days=DAYS) / timedelta(seconds=told[CALLS].after)
    asked: dict[str, float] = {}
    for call in told:
        first = asked.setdefault(call.request_id, call.after)
        if not NO_FONT.search(str(call.body)):
            yield replace(call, after=first * stretch + call.after - first)


def events(now: datetime) -> Iterator[dict[str, Any]]:
    """Return the calls as rows of `feedback_events`."""
    start = now - timedelta(days=DAYS)
    ordered = sorted((call for call in calls(now) if call.after < DAYS * 86_400), key=lambda call: call.after)
    for version, call in enumerate(ordered, 1):
        at = (start + timedelta(seconds=call.after)).isoformat().replace("+00:00", "Z")
        source, data, request = _said(call)
        if "started_at" in request:
            request["started_at"] = at
        yield {
            "tenant": "default",
            "request_id": call.request_id,
            "version": version,
            "event_id": str(UUID(int=version)),
            "op": "retract" if call.method == "DELETE" else "merge",
            "source": source,
            "received_at": at,
            "appended_at": at,
            "data": data,
            "request": request,
            "log_partition": 0,
            "log_offset": version,
        }


def _said(call: DemoCall) -> tuple[str, dict[str, Any], dict[str, Any]]:
    body = dict(call.body or {})
    if call.method == "PUT":
        return "native", {}, body
    if "message_id" in body:
        return "gptboost", {key: body[key] for key in ("rating", "comment", "tags") if body[key]}, {}
    source = "requesty" if call.path.startswith("/feedback/") else "native"
    return source, body.get("data", {}), body.get("request", {})


def states(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that these events make."""
    rows: dict[str, dict[str, Any]] = {}
    for event in told:
        fresh = {"tenant": "default", "data": {}, "request": {}, "sources": []}
        row = rows.setdefault(event["request_id"], fresh | {"first_received_at": event["received_at"]})
        row |= {name: event[name] for name in ("request_id", "version")}
        row |= {"revision": event["version"], "last_received_at": event["received_at"]}
        row["sources"] = sorted({*row["sources"], event["source"]})
        row["data"] = {} if event["op"] == "retract" else row["data"] | event["data"]
        row["request"] = row["request"] | event["request"]
    return list(rows.values())


def storied(told: list[dict[str, Any]]) -> str:
    """Return the id of a request that people said much about, lately."""

    def interest(row: dict[str, Any]) -> tuple[int, str]:
        mine = [event for event in told if event["request_id"] == row["request_id"]]
        has_words = bool(row["data"].get("comment") or row["data"].get("message"))
        votes = sum("rating" in event["data"] for event in mine)
        is_whole = has_words and "prompt" in row["request"] and "rating" in row["data"]
        return is_whole * (10 * votes + len(mine)), row["last_received_at"]

    return str(max(states(told), key=interest)["request_id"])


@asynccontextmanager
async def stored(told: list[dict[str, Any]], home: Path) -> AsyncIterator[ClickHouseSettings]:
    """Store everything in a ClickHouse of its own."""
    warehouse = OwnWarehouse(home / "warehouse")
    await warehouse.start()
    try:
        settings = warehouse.settings
        default = settings.replace(clickhouse_database="default")
        await run(default, f"CREATE DATABASE IF NOT EXISTS {settings.clickhouse_database}")
        await create_tables(settings)
        await insert(settings, "feedback_events", told)
        await insert(settings, "feedback_state", states(told))
        yield settings
    finally:
        await warehouse.stop()


async def take(browser: Browser, url: str, picture: Picture) -> None:
    """Take one picture."""
    width, height = picture.size
    page = await browser.new_page(
        base_url=url,
        color_scheme=picture.theme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        device_scale_factor=1.5 if picture.size == PHONE else 1,
    )
    await page.goto(picture.path)
    await page.locator("#live-switch[data-state=live]").or_(page.locator("main")).first.wait_for()
    if picture.press:
        await page.locator(picture.press).click()
        await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    await page.screenshot(path=IMAGES / f"{picture.name}.png")
    await page.close()


async def main() -> None:
    """Take all of them."""
    IMAGES.mkdir(exist_ok=True)
    told = list(events(datetime.fromtimestamp(time.time(), UTC)))
    with tempfile.TemporaryDirectory() as home:
        async with stored(told, Path(home)) as settings, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=executable(), args=list(ARGUMENTS))
            async with serving(query_over(settings, Path(home))) as url:
                for picture in pictures(storied(told)):
                    await take(browser, url, picture)
                    print(f"docs/images/{picture.name}.png")
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
