"""Pages of rows over a real engine: complete, in order, and right while rows change."""

import random
from collections.abc import AsyncIterator
from functools import cmp_to_key
from typing import Any

import pytest

from services.query.core.problems import QueryProblem
from services.query.reads.core.filters import NO_FILTERS, Filters, parse_filters
from services.query.reads.core.listing import COLUMNS
from services.query.reads.listing import page_of
from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore, Row
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import insert, run, state_row
from tests.support.oracles.filters import matches

MOMENTS = [f"2026-11-22T09:00:0{second}.00000{micro}Z" for second in range(3) for micro in range(2)]
MODELS = ("gpt-x", "gpt-y", "é" * 300 + "1", "é" * 300 + "2", "")


class Counting(ClickHouseStore):
    """A store that remembers what it was asked."""

    def __init__(self, settings: QuerySettings) -> None:
        super().__init__(settings)
        self.asked: list[str] = []

    async def rows(self, statement: Statement) -> list[Row]:
        """Note it and ask."""
        self.asked.append(statement.sql)
        return await super().rows(statement)


@pytest.fixture
async def counting(query_tables_settings: QuerySettings) -> AsyncIterator[Counting]:
    """A store that counts."""
    store = Counting(query_tables_settings)
    yield store
    await store.stop()


def any_row(tenant: str, request_id: str, revision: int) -> dict[str, Any]:
    """Return a row whose values many others have too."""
    first, last = sorted(random.choices(MOMENTS, k=2))
    request = {"model": random.choice(MODELS), "latency_ms": random.choice((None, 0.1, 812.5, 1e20))}
    return state_row(
        request_id,
        revision,
        tenant=tenant,
        first_received_at=first,
        last_received_at=last,
        data={"rating": random.choice((1, 2.5, 5, None)), "user_id": random.choice(("ann", "bob", ""))},
        request=request
        | {"started_at": random.choice((None, *MOMENTS)), "cost_usd": random.choice((None, 1e-07))},
    )


async def walk(
    store: ClickHouseStore, tenant: str, filters: Filters = NO_FILTERS, **asked: Any
) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await page_of(store, tenant, filters, cursor=cursor, **asked)
        assert len(page.items) <= asked["limit"]
        assert page.items or page.next_cursor is None
        items += page.items
        cursor = page.next_cursor
    return items


def in_order(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return items as an order has them, by comparing each two."""
    column, turned = name.removeprefix("-"), name.startswith("-")

    def compare(left: dict[str, Any], right: dict[str, Any]) -> int:
        mine, other = left[column], right[column]
        if (mine is None) != (other is None):
            return 1 if mine is None else -1
        if column in ("model", "user_id"):
            mine, other = mine[:100], other[:100]
        pair = [(mine, left["request_id"]), (other, right["request_id"])]
        if mine is None:
            pair = [("", left["request_id"]), ("", right["request_id"])]
        smaller = pair[0] < pair[1]
        return (1 if smaller else -1) if turned else (-1 if smaller else 1)

    return sorted(rows, key=cmp_to_key(compare))


async def test_every_order_shows_each_row_once(
    query_tables: ClickHouseSettings, store: ClickHouseStore, tenant: str
) -> None:
    """In one direction or the other, with equal and missing values, old versions and erased rows."""
    latest: dict[str, dict[str, Any]] = {}
    for revision in range(1, 4):
        batch = [any_row(tenant, f"r{number:02}", revision) for number in random.sample(range(40), 25)]
        for row in batch:
            row["is_deleted"] = int(random.random() < 0.1)
        latest |= {row["request_id"]: row for row in batch}
        await insert(query_tables, "feedback_state", batch)
    shown = [row for row in latest.values() if not row["is_deleted"]]
    asked = [("rating", "5"), ("rating", "1")]
    filters = parse_filters(asked)

    for column in COLUMNS:
        name = random.choice(("", "-")) + column
        everything = await walk(store, tenant, order=name, limit=random.choice((13, 17)))
        some = await walk(store, tenant, filters, order=name, limit=random.choice((9, 40)))
        ids = [item["request_id"] for item in everything]

        assert sorted(ids) == sorted(row["request_id"] for row in shown), name
        assert ids == [item["request_id"] for item in in_order(everything, name)], name
        wanted = {row["request_id"] for row in shown if matches(row, asked)}
        assert [item["request_id"] for item in some] == [one for one in ids if one in wanted], name


@pytest.mark.parametrize("order", ["-last_received_at", "last_received_at", "rating", "-latency_ms"])
async def test_rows_that_stay_as_they_are_come_once_while_others_change(
    query_tables: ClickHouseSettings, store: ClickHouseStore, tenant: str, order: str
) -> None:
    """Others move, come and go between two pages; in the walk they may come never, once or again."""
    rows = {f"r{number:02}": any_row(tenant, f"r{number:02}", 1) for number in range(40)}
    await insert(query_tables, "feedback_state", rows.values())
    unchanged = set(random.sample(sorted(rows), 25))
    seen: list[str] = []
    cursor: str | None = ""
    revision = 1
    while cursor is not None:
        page = await page_of(store, tenant, NO_FILTERS, order=order, limit=6, cursor=cursor)
        seen += [item["request_id"] for item in page.items]
        cursor, revision = page.next_cursor, revision + 1
        moved = [any_row(tenant, name, revision) for name in sorted(set(rows) - unchanged)[:5]]
        moved.append(any_row(tenant, f"new{revision}", revision))
        moved[0]["is_deleted"] = 1
        if revision < 12:
            await insert(query_tables, "feedback_state", moved)

    assert sorted(one for one in seen if one in unchanged) == sorted(unchanged)


async def test_old_versions_neither_show_nor_hide_a_row(
    query_tables: ClickHouseSettings, counting: Counting, tenant: str
) -> None:
    """However many there are, and where they stood; then FINAL decides, and the answer is the same."""

    def row(name: str, revision: int, time: str) -> dict[str, Any]:
        return state_row(name, revision, tenant=tenant, last_received_at=f"2026-11-22T{time}Z")

    moved = [row(f"moved{number:02}", 1, f"10:00:{number:02}") for number in range(60)]
    quiet = [row(f"quiet{number}", 1, f"09:00:0{number}") for number in range(1, 5)]
    # Erased, and then heard of by a server whose clock is behind: their newest states stand before old ones.
    back = [row(f"moved{number:02}", 3, f"08:00:{number:02}") for number in range(50)]
    back += [row("moved50", 3, "09:00:02.5")]
    erased = [one | {"revision": 2, "is_deleted": 1} for one in moved]
    await run(query_tables, "SYSTEM STOP MERGES feedback_state")
    try:
        for batch in (moved, quiet, erased, back):
            await insert(query_tables, "feedback_state", batch)
        items = await walk(counting, tenant, order="-last_received_at", limit=2)
    finally:
        await run(query_tables, "SYSTEM START MERGES feedback_state")
    ids = [item["request_id"] for item in items]

    assert ids[:5] == ["quiet4", "quiet3", "moved50", "quiet2", "quiet1"]
    assert ids[5:] == [f"moved{number:02}" for number in reversed(range(50))]
    assert any("FINAL" in sql and "request_id IN" not in sql for sql in counting.asked)


async def test_a_page_takes_two_questions(
    query_tables: ClickHouseSettings, counting: Counting, tenant: str
) -> None:
    """Where few rows have old versions: places, then rows; and FINAL never reads more than those."""
    await insert(query_tables, "feedback_state", [any_row(tenant, f"r{number}", 1) for number in range(90)])
    first = await page_of(counting, tenant, NO_FILTERS, limit=50)
    await page_of(counting, tenant, NO_FILTERS, limit=50, cursor=first.next_cursor or "")

    assert len(counting.asked) == 4
    assert all(("request_id IN" in sql) == ("FINAL" in sql) for sql in counting.asked)


async def test_a_cursor_continues_with_its_own_question_only(
    query_tables: ClickHouseSettings, store: ClickHouseStore, tenant: str
) -> None:
    """Not with other filters, another order, another tenant, and not when it was cut or changed."""
    await insert(query_tables, "feedback_state", [any_row(tenant, f"r{number}", 1) for number in range(3)])
    filters = parse_filters([("source", "native"), ("source", "requesty")])
    cursor = (await page_of(store, tenant, filters, limit=1)).next_cursor or ""
    again = await page_of(store, tenant, filters, limit=2, cursor=cursor)
    foreign: list[dict[str, Any]] = [
        {"filters": NO_FILTERS},
        {"order": "last_received_at"},
        {"tenant": "another"},
    ]

    assert len(again.items) == 2
    for change in foreign:
        with pytest.raises(QueryProblem, match="belongs to another query"):
            await page_of(
                **{"store": store, "tenant": tenant, "filters": filters, "cursor": cursor, **change}
            )
    for broken in (cursor[:-1], "x" + cursor, cursor.swapcase(), "e30", "é", "{}", "A" * 9000):
        with pytest.raises(QueryProblem, match="not a `next_cursor` of this service"):
            await page_of(store, tenant, filters, cursor=broken)


async def test_a_cursor_reveals_nothing_but_the_place(
    query_tables: ClickHouseSettings, store: ClickHouseStore
) -> None:
    """A reader may log it or pass it on; and one of a full page with the longest ids goes through a URL."""
    tenant = "secret-tenant"
    rows = [
        state_row("😀" * 255 + str(number), tenant=tenant, data={"comment": "hush", "user_id": "u" * 9000})
        for number in range(3)
    ]
    await insert(query_tables, "feedback_state", rows)
    filters = parse_filters([("q", "hush")])
    for order in ("user_id", "-request_id"):
        page = await page_of(store, tenant, filters, order=order, limit=1)
        assert len(await walk(store, tenant, filters, order=order, limit=2)) == 3
        assert page.next_cursor is not None
        assert len(page.next_cursor) < 4096
        assert "hush" not in page.next_cursor
