"""Statistics, as ClickHouse gives them over the real table, are what Python counts over the same rows."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.tables import FEEDBACK_STATE
from services.query.reads.core.filters import parse_filters
from services.query.reads.core.statistics.figures import Stats, student
from services.query.reads.statistics import StatsOptions, stats
from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, run, state_row
from tests.support.oracles.filter_cases import DATA, MOMENTS, RATINGS, REQUEST, TEXTS
from tests.support.oracles.filters import matches
from tests.support.oracles.statistics import Plain, plain_stats

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)

SCORES = (0.25, 1, 1.5, 2, 3, -7, 1000, True, False, "7", "", "nan", None, [1], {"a": 1})
KINDS = (*TEXTS[:12], "", 0, 7, True, None)
DATASETS = ("oasst", "koala", "<b>", None)

QUICK = settings(
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.too_slow,
    ],
    max_examples=5,
)


@st.composite
def documents(draw: st.DrawFn, request_id: str) -> dict[str, Any]:
    """Return what a state row says of one request."""
    first, last = sorted((draw(st.sampled_from(MOMENTS)), draw(st.sampled_from(MOMENTS))))
    data, request = draw(DATA), draw(REQUEST)
    for part in (data, request):
        # How ClickHouse writes a fraction that stands where a name should is not told here.
        for name in ("model", "provider", "user_id"):
            if isinstance(part.get(name), float):
                del part[name]
    if data:
        data |= {"score": draw(st.sampled_from(SCORES)), "kind": draw(st.sampled_from(KINDS))}
        data |= {"rating": draw(st.sampled_from(RATINGS))}
    if request:
        request |= {"dataset": draw(st.sampled_from(DATASETS)), "latency_ms": draw(st.sampled_from(SCORES))}
    return {
        "request_id": request_id,
        "first_received_at": first,
        "last_received_at": last,
        "sources": sorted(draw(st.sets(st.sampled_from(("gptboost", "native", "requesty")), min_size=1))),
        "data": data,
        "request": request,
    }


UNITS = st.sampled_from(("hour", "day", "week", "month"))
NAMES = st.sampled_from(
    (
        "model",
        "provider",
        "vote",
        "sentiment",
        "tag",
        "source",
        "dataset",
        "data.kind",
        "user_id",
        "request.model",
    )
)
BY = st.one_of(
    st.tuples(),
    st.tuples(UNITS),
    st.tuples(NAMES),
    st.tuples(UNITS, NAMES),
    st.tuples(NAMES, UNITS),
    st.tuples(NAMES, NAMES).filter(
        lambda two: len({one.removeprefix("request.") for one in two}) == 2,
    ),
)
ASKED = st.builds(
    Plain,
    by=BY,
    measure=st.sampled_from(("rating", "data.score", "request.latency_ms")),
    time=st.sampled_from(("last_received_at", "last_received_at", "first_received_at", "started_at")),
    zone=st.sampled_from(("UTC", "Asia/Kolkata", "America/New_York")),
    order=st.builds(
        str.__add__,
        st.sampled_from(("-", "")),
        st.sampled_from(("requests", "rated", "share", "average", "key")),
    ),
    limit=st.sampled_from((1, 2, 3, 100)),
)
TIMES = st.one_of(
    st.just([]),
    st.just([("from", "1970-01-01")]),
    st.just([("from", "2026-11-09"), ("to", "2026-11-17")]),
    st.just([("from", "2026-11-09T09:00:00.000002Z"), ("to", "2026-11-20T09:00:00.000002Z")]),
    # Some rows lie between the two periods: the previous one is whole days earlier.
    st.just([("from", "2026-11-20T08:30:00Z")]),
    st.just([("to", "2026-11-20T09:00:00.000001Z")]),
)
FILTERS = st.sampled_from(
    (
        [],
        [],
        [],
        [("sentiment", "positive")],
        [("has_comment", "true")],
        [("data.score", "gt:1")],
        [("tag", "slow")],
    )
)


def spans(times: list[tuple[str, str]]) -> dict[int, tuple[datetime, datetime]]:
    """Return the periods that `from` and `to` name at NOW, in UTC, as the documentation says it."""
    named = {name: datetime.fromisoformat(text).replace(tzinfo=UTC) for name, text in times}
    end = named.get("to", NOW)
    start = named.get("from") or (end - 30 * DAY if "to" in named else datetime(2026, 10, 23, tzinfo=UTC))
    back = end - start
    if "to" not in named and back > DAY:
        back = timedelta(days=back.days + (back % DAY > timedelta()))
    if start.year == 1970:
        return {0: (start, end)}
    return {0: (start, end), 1: (start - back, end - back)}


@dataclass
class Bench:
    """A database to fill and ask, from tests without an event loop of their own."""

    settings: ClickHouseSettings
    store: ClickHouseStore
    runner: asyncio.Runner

    def fill(self, rows: list[dict[str, Any]]) -> None:
        """Make these the only rows: some replaced others, one was erased, another tenant has the same ids."""
        before = [state_row(**{**row, "data": {"rating": 5, "tags": ["old"]}}) for row in rows[::2]]
        after = [state_row(**row, revision=2) for row in rows]
        foreign = [{**one, "tenant": "other"} for one in after]
        erased = [state_row("erased", 1, data={"rating": 1}), state_row("erased", 2, is_deleted=1)]

        async def fill() -> None:
            await run(self.settings, f"TRUNCATE TABLE {FEEDBACK_STATE}")
            for part in (before + erased[:1], [*after, *foreign, *erased[1:]]):
                await insert(self.settings, FEEDBACK_STATE, part)

        self.runner.run(fill())

    def stats(self, asked: Plain, filters: list[tuple[str, str]], now: datetime = NOW) -> Stats:
        """Ask."""
        options = StatsOptions(asked.time, asked.zone, asked.order, asked.limit)
        found = parse_filters(filters)
        asking = stats(
            self.store, "default", found, by=asked.by, measure=asked.measure, options=options, now=now
        )
        return self.runner.run(asking)


@pytest.fixture
async def tables(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """Make the tables in a database of this test's own."""
    await create_tables(clickhouse_settings)
    return clickhouse_settings


@pytest.fixture
def bench(tables: ClickHouseSettings) -> Iterator[Bench]:
    """Connect in an event loop beside pytest's."""
    with asyncio.Runner() as runner:
        store = ClickHouseStore(QuerySettings(**tables.model_dump()))
        yield Bench(tables, store, runner)
        runner.run(store.stop())


@settings(QUICK)
@given(
    rows=st.lists(st.integers(0, 10**6), min_size=8, max_size=30, unique=True).flatmap(
        lambda ids: st.tuples(*(documents(f"r{one}") for one in ids))
    ),
    questions=st.lists(st.tuples(ASKED, TIMES, FILTERS), min_size=12, max_size=12),
)
def test_clickhouse_and_python_agree(
    bench: Bench, rows: tuple[dict[str, Any], ...], questions: list[tuple[Plain, Any, Any]]
) -> None:
    """Whatever the rows say, however they are grouped, averaged, ordered and limited, in both periods."""
    bench.fill(list(rows))

    for asked, times, filters in questions:
        answer = bench.stats(asked, [*times, *filters])

        chosen = [row for row in rows if matches(row, filters)]
        expected = plain_stats(chosen, asked, spans(times))
        assert simple(answer) == expected, (asked, times, filters)


def simple(answer: Stats) -> dict[str, Any]:
    """Return the answer as the oracle gives it: rounded, with the spread in place of Student's interval."""
    dumped = answer.model_dump(include={"total", "groups", "rest", "groups_left_out", "undated"})
    for figures in (dumped["total"], *dumped["groups"], *dumped["rest"]):
        for one in (figures, figures["previous"]):
            if one is not None:
                one["share"] = one["share"] and _rounded(one["share"])
                one["average"] = one["average"] and _spread(one["average"])
    return dumped


def _rounded(share: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(value, abs=1e-12) for name, value in share.items()}


def _spread(average: dict[str, Any]) -> dict[str, Any]:
    n = average["n"]
    spread = 0.0
    if n > 1:
        assert average["high"] - average["value"] == pytest.approx(average["value"] - average["low"])
        spread = (average["high"] - average["value"]) / student(n - 1) * (n - 1) ** 0.5
    else:
        assert average["low"] is average["high"] is None
    return {
        "value": pytest.approx(average["value"], rel=1e-12),
        "spread": pytest.approx(spread, rel=1e-9, abs=1e-9),
        "n": n,
    }
