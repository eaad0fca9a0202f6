"""Whatever values rows have, each walk meets each of them once, and statistics count each once."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from schemas.limits import END_OF_TIMES, START_OF_TIMES
from schemas.tables import FEEDBACK_STATE
from services.query.reads.core.filters import NO_FILTERS, Filters
from services.query.reads.core.listing import ORDER_NAMES
from services.query.reads.core.statistics.question import UNITS, Period, buckets, time_zone
from services.query.reads.listing import page_of
from services.query.reads.statistics import StatsOptions, stats
from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, run, state_row
from tests.support.oracles import typed_columns

MICROSECOND = timedelta(microseconds=1)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

STARTS: tuple[Any, ...] = (
    None, "", "yesterday", 0, 1, 9999999999, 9999999999999, 253402300799, -1, 1e300, 4102444799.9999999,
    4102444800, "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z",
    "1970-01-01T00:00:00+05:00", "2026-11-22T08:00:00Z", "2026-11-22T08:00:00.000001Z",
    "2099-12-31T23:59:59.999999Z", "2099-12-31T20:00-05:00", "2100-01-01T04:00:00+05:00", "2105-01-01",
    "2149-06-07", "2200-01-01T00:00:00Z", "2299-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00Z",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    None, 0, -0.0, 0.0, 0.1 + 0.2, 0.3, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
    -1.7976931348623157e308, 2**53, 2**53 + 1, 2**64 - 1, -(2**63), "1e308", 5, "amazing",
)  # fmt: skip
TEXTS: tuple[Any, ...] = (
    "", "\0", "a\0b", "a\0c", "tab\t", "line\n", "back\\slash", "\\N", "'", "é" * 100, "é" * 101,
    "é" * 100 + "\0", "😀",
)  # fmt: skip
RECEIVED = (
    "0001-01-01T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000000Z",
    "2026-11-22T08:00:00.123456Z", "2026-11-22T08:00:00.123457Z", "2286-11-20T17:46:39.000000Z",
    "9999-12-31T23:59:59.999999Z",
)  # fmt: skip

ROWS = st.fixed_dictionaries(
    {
        "first_received_at": st.sampled_from(RECEIVED),
        "last_received_at": st.sampled_from(RECEIVED),
        "data": st.fixed_dictionaries(
            {"rating": st.sampled_from(NUMBERS), "user_id": st.sampled_from(TEXTS)},
        ),
        "request": st.fixed_dictionaries(
            {
                "started_at": st.sampled_from(STARTS),
                "latency_ms": st.sampled_from(NUMBERS),
                "cost_usd": st.sampled_from(NUMBERS),
                "model": st.sampled_from(TEXTS),
            }
        ),
    }
)
EVERY_VALUE = [
    {
        "first_received_at": RECEIVED[number % len(RECEIVED)],
        "last_received_at": RECEIVED[number // 2 % len(RECEIVED)],
        "data": {"rating": NUMBERS[number % len(NUMBERS)], "user_id": TEXTS[number % len(TEXTS)]},
        "request": {
            "started_at": STARTS[number % len(STARTS)],
            "latency_ms": NUMBERS[number // 2 % len(NUMBERS)],
            "cost_usd": NUMBERS[number // 3 % len(NUMBERS)],
            "model": TEXTS[number // 2 % len(TEXTS)],
        },
    }
    for number in range(len(STARTS) + 9)
]
ZONES = ("Asia/Kolkata", "America/New_York")
QUICK = settings(
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.too_slow,
    ],
    max_examples=2,
)


@pytest.fixture
async def tables(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """Make the tables in a database of this test's own."""
    await create_tables(clickhouse_settings)
    return clickhouse_settings


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop beside pytest's."""
    with asyncio.Runner() as runner:
        yield runner


async def fill(tables: ClickHouseSettings, rows: list[dict[str, Any]]) -> set[str]:
    """Make these the only rows; return their ids."""
    named = [state_row(f"r{number:03}", **row) for number, row in enumerate(rows)]
    await run(tables, f"TRUNCATE TABLE {FEEDBACK_STATE}")
    await insert(tables, FEEDBACK_STATE, named)
    return {row["request_id"] for row in named}


async def walk(store: ClickHouseStore, order: str, limit: int) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await page_of(store, "default", NO_FILTERS, order=order, limit=limit, cursor=cursor)
        found += [item["request_id"] for item in page.items]
        cursor = page.next_cursor
    return found


@QUICK
@given(rows=st.lists(ROWS, min_size=5, max_size=20), limit=st.sampled_from((2, 5)))
@example(rows=EVERY_VALUE, limit=9)
def test_each_row_is_met_once(
    tables: ClickHouseSettings, runner: asyncio.Runner, rows: list[dict[str, Any]], limit: int
) -> None:
    """In every order and direction: no cursor is refused, and none leaves a row out or comes back to one."""

    async def check() -> None:
        ids = await fill(tables, rows)
        store = ClickHouseStore(QuerySettings(**tables.model_dump()))
        try:
            for order in ORDER_NAMES:
                found = await walk(store, order, limit)

                assert sorted(found) == sorted(ids), order
        finally:
            await store.stop()

    runner.run(check())


@QUICK
@given(rows=st.lists(ROWS, min_size=5, max_size=20), zone=st.sampled_from(ZONES))
@example(rows=EVERY_VALUE, zone="UTC")
@example(rows=EVERY_VALUE, zone="America/New_York")
def test_each_row_is_in_one_stretch_of_time_or_undated(
    tables: ClickHouseSettings, runner: asyncio.Runner, rows: list[dict[str, Any]], zone: str
) -> None:
    """And each stretch has the name by which charts draw it, up to both ends of the range."""
    whole = Filters(last_from=START_OF_TIMES, last_to=END_OF_TIMES)
    options = StatsOptions(time="started_at", time_zone=zone)

    async def check() -> None:
        await fill(tables, rows)
        dated = [at for row in rows if (at := typed_columns.started_at(row["request"]))]
        store = ClickHouseStore(QuerySettings(**tables.model_dump()))
        try:
            for unit in UNITS:
                found = await stats(store, "default", whole, by=[unit], options=options, now=NOW)

                assert {group.key[unit]: group.requests for group in found.groups} == Counter(
                    next(buckets(Period(at, at + MICROSECOND), unit, time_zone(zone))) for at in dated
                )
                assert found.undated == len(rows) - len(dated)
        finally:
            await store.stop()

    runner.run(check())
