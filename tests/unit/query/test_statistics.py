"""What statistics decide without a store: periods, intervals, names, and the text of the statement."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.query.core.problems import QueryProblem
from services.query.reads.core.filters import NO_FILTERS, parse_filters
from services.query.reads.core.statistics.figures import GroupTally, average, share, stats_of, student
from services.query.reads.core.statistics.question import (
    Period,
    StatsQuery,
    buckets,
    parse_dimensions,
    parse_measure,
    periods,
    time_zone,
)
from services.query.reads.core.statistics.statement import statement

NOW = datetime(2026, 11, 22, 13, 45, 1, 250000, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (8, 10, 0.4902, 0.9433),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_shares_have_wilsons_interval(hits: int, n: int, low: float, high: float) -> None:
    """Values as Newcombe published them in 1998, and others that are easily looked up."""
    found = share(hits, n)

    assert found is not None
    assert (found.value, found.n) == (hits / n, n)
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [
        (1, 12.70620), (2, 4.30265), (5, 2.57058), (10, 2.22814), (20, 2.08596), (21, 2.07961), (25, 2.05954),
        (30, 2.04227), (60, 2.00030), (120, 1.97993), (1000, 1.96234), (10**9, 1.95996),
    ],
)  # fmt: skip
def test_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    """To the digits that tables print."""
    assert student(freedom) == pytest.approx(quantile, abs=6e-6)


def test_averages_have_students_interval() -> None:
    """Of 1, 2, 3, 4 and 5: 3, give or take 2.776 times 1.581 by the root of 5."""
    found = average(5, 3.0, 10.0)

    assert found is not None
    assert found.high == pytest.approx(3 + 1.963243, abs=1e-5)
    assert found.low == pytest.approx(3 - 1.963243, abs=1e-5)


def test_nothing_has_no_share_and_no_average() -> None:
    """And one value alone has no interval, nor have values too large for a double."""
    assert share(0, 0) is None
    assert average(0, None, None) is None
    assert average(2, None, None) is None
    assert average(2, float("inf"), 1.0) is None
    for one in (average(1, 7.0, 0.0), average(2, 7.0, None), average(2, 7.0, float("inf"))):
        assert one is not None
        assert (one.value, one.low, one.high) == (7.0, None, None)


def at(text: str) -> datetime:
    """Return a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_without_a_time_the_last_30_days_are_counted_and_the_30_before_to_the_same_time_of_day() -> None:
    """So that each day stands beside a day."""
    found = periods(None, None, NOW, UTC)

    assert found.current == Period(at("2026-10-24"), NOW)
    assert found.previous == Period(at("2026-09-24"), NOW - timedelta(days=30))
    assert found.shift == timedelta(days=30)


def test_the_first_day_begins_where_the_zone_has_it() -> None:
    """Berlin is two hours ahead in October."""
    assert periods(None, None, NOW, BERLIN).current.start == at("2026-10-23T22:00:00")


def test_a_named_period_has_the_one_of_the_same_length_directly_before() -> None:
    """Whatever its length."""
    found = periods(at("2026-11-01T06:00"), at("2026-11-03T07:30"), NOW, UTC)

    assert found.previous == Period(at("2026-10-30T04:30"), at("2026-11-01T06:00"))


def test_a_period_without_an_end_ends_now() -> None:
    """Beside it: whole days earlier, or, below a day, right before."""
    days = periods(at("2026-11-20"), None, NOW, UTC)
    hours = periods(at("2026-11-22T12:45:01.250"), None, NOW, UTC)

    assert days.previous == Period(at("2026-11-17"), NOW - timedelta(days=3))
    assert hours.previous == Period(at("2026-11-22T11:45:01.250"), at("2026-11-22T12:45:01.250"))


def test_a_period_without_a_beginning_has_30_days() -> None:
    """Counted from its end."""
    found = periods(None, at("2026-11-10"), NOW, UTC)

    assert found.current == Period(at("2026-10-11"), at("2026-11-10"))
    assert found.previous == Period(at("2026-09-11"), at("2026-10-11"))


def test_before_1970_there_is_no_previous_period() -> None:
    """As where everything is asked for."""
    assert periods(at("1970-01-01"), None, NOW, UTC).previous is None


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-11-02", "2026-11-01", "before `to`"),
        ("2026-11-02", "2026-11-02", "before `to`"),
        ("2027-01-01", None, "future"),
    ],
)
def test_a_period_has_to_have_some_time_in_it(start: str, end: str | None, said: str) -> None:
    """Else it is said what is wrong."""
    with pytest.raises(QueryProblem, match=said):
        periods(at(start), at(end) if end else None, NOW, UTC)


@pytest.mark.parametrize(
    ("unit", "names"),
    [
        ("hour", ["2026-03-01T00:00:00Z", "…", "2026-03-31T23:00:00Z"]),
        ("day", ["2026-03-01", "…", "2026-03-31"]),
        ("week", ["2026-02-23", "2026-03-02", "2026-03-09", "2026-03-16", "2026-03-23", "2026-03-30"]),
        ("month", ["2026-03-01"]),
    ],
)
def test_each_stretch_of_a_period_has_a_name(unit: str, names: list[str]) -> None:
    """The last one ends with the period."""
    found = list(buckets(Period(at("2026-03-01"), at("2026-04-01")), unit, UTC))

    if "…" in names:
        assert (found[0], found[-1]) == (names[0], names[-1])
        assert len(found) == {"hour": 31 * 24, "day": 31}[unit]
    else:
        assert found == names


def test_days_and_hours_begin_where_the_zone_has_them() -> None:
    """Kolkata is five and a half hours ahead."""
    kolkata = ZoneInfo("Asia/Kolkata")
    period = Period(at("2026-03-01T18:00"), at("2026-03-01T19:00"))

    assert list(buckets(period, "day", kolkata)) == ["2026-03-01", "2026-03-02"]
    assert list(buckets(period, "hour", kolkata)) == ["2026-03-01T17:30:00Z", "2026-03-01T18:30:00Z"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["modelx"], "did you mean model"),
        (["day", "week"], "not two"),
        (["model", "model"], "each once"),
        (["model", "request.model"], "each once"),
        (["dataset", "request.dataset"], "each once"),
        (["day", "model", "tag"], "at most 2"),
        (["data."], "none of"),
        (["data." + "k" * 257], "none of"),
        (["data.a\0"], "none of"),
        (["prompt"], "none of"),
    ],
)
def test_what_cannot_be_grouped_by_is_refused(names: list[str], said: str) -> None:
    """With what can be."""
    with pytest.raises(QueryProblem, match=said):
        parse_dimensions(names)


@pytest.mark.parametrize("name", ["ratings", "", "data.", "tag", "request.\0"])
def test_what_cannot_be_averaged_is_refused(name: str) -> None:
    """With what can be."""
    with pytest.raises(
        QueryProblem, match=r"is none of rating, latency_ms, cost_usd, data\.<key>, request\.<key>"
    ):
        parse_measure(name)


@pytest.mark.parametrize(
    "name", ["localtime", "", "Mars/Base", "../etc/passwd", "Europe", "UTC+1", "right/UTC"]
)
def test_a_zone_has_to_be_one_that_everybody_knows(name: str) -> None:
    """Neither a path, nor this machine's own."""
    with pytest.raises(QueryProblem, match="is not a time zone"):
        time_zone(name)


def question(*by: str, measure: str = "rating", **changes: object) -> StatsQuery:
    """Return a question of the last 30 days."""
    plain = StatsQuery(
        "acme", NO_FILTERS, periods(None, None, NOW, UTC), parse_dimensions(list(by)), parse_measure(measure)
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_the_tenant_comes_first_and_no_value_is_part_of_the_text() -> None:
    """Whatever names are asked for."""
    hostile = "x'); DROP TABLE feedback_state; --"
    filters = parse_filters([("model", hostile), (f"data.{hostile}", hostile)])
    asked = question(f"data.{hostile}", "day", measure=f"request.{hostile}", filters=filters, tenant=hostile)

    found = statement(asked)

    assert "DROP" not in found.sql
    assert "FROM feedback_state FINAL WHERE tenant = {" in found.sql
    assert list(found.parameters.values()).count(hostile) >= 4


@pytest.mark.parametrize("by", [(), ("day",), ("day", "model"), ("tag",), ("vote", "source")])
def test_what_has_a_column_is_read_from_it(by: tuple[str, ...]) -> None:
    """Each row once, for both periods, and without opening its JSON."""
    found = statement(question(*by, measure="request.latency_ms"))

    assert found.sql.count("FROM feedback_state") == 1
    assert "JSON" not in found.sql


def row(place: int, period: int, **values: object) -> dict[str, object]:
    """Return a row of the answer: one positive request rated 5."""
    counts = {
        "requests": 1,
        "with_feedback": 1,
        "rated": 1,
        "positive": 1,
        "neutral": 0,
        "negative": 0,
        "n": 1,
    }
    fixed = {"not_numbers": 0, "total": 5.0, "spread": 0.0, "bucket": 0, "names": 1, "k0": "a"}
    return counts | fixed | {"place": place, "period": period} | values


def test_values_beyond_a_double_have_no_average() -> None:
    """ClickHouse answers null for them; counts stay."""
    answer = stats_of(question("model"), [row(1, 0, total=None, spread=None, n=2, requests=2)])

    assert answer.groups[0].average is None
    assert answer.total.requests == 2


def test_adding_up_keeps_the_spread() -> None:
    """As if all values had been counted together: 1, 1, 5, 9."""
    both = GroupTally(n=2, total=2.0, squares=0.0) + GroupTally(n=2, total=14.0, squares=8.0)

    assert (both.n, both.total, both.squares) == (4, 16.0, 44.0)
    assert GroupTally() + both == both + GroupTally() == both
    assert (both + GroupTally(n=1, total=None, squares=None)).total is None


def test_a_group_that_only_the_previous_period_has_is_shown() -> None:
    """With nothing in this one: somebody stopped using it."""
    answer = stats_of(question("model"), [row(1, 1)])

    assert answer.groups[0].requests == 0
    assert answer.groups[0].previous is not None
    assert answer.groups[0].previous.requests == 1
