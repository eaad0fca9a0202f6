"""Filters as readers write them: what is read, and everything that is wrong at once."""

from datetime import UTC, datetime

import pytest

from services.query.core.problems import QueryProblem
from services.query.reads.core.filters import (
    Comparison,
    Filters,
    Operator,
    is_unspaced,
    number,
    parse_filters,
    to_parameters,
    words,
)
from services.query.reads.core.sql import where


def faults(*parameters: tuple[str, str]) -> dict[str, str]:
    """Return what is wrong with each of these parameters."""
    with pytest.raises(QueryProblem) as refused:
        parse_filters(parameters)
    return dict(refused.value.faults)


def compared(value: str) -> tuple[Operator, str]:
    """Return how the value of a key is read."""
    (comparison,) = parse_filters([("data.k", value)]).comparisons
    return comparison.operator, comparison.text


def test_every_fault_is_reported_at_once() -> None:
    """Each under its parameter, with what to write instead."""
    found = faults(
        ("vote", "good"),
        ("rating", "5 stars"),
        ("rating_min", "1e999"),
        ("from", "yesterday"),
        ("to", "2026-02-30"),
        ("has_comment", "yes"),
        ("user_id", "a"),
        ("user_id", "b"),
        ("data.k", "exists:maybe"),
        ("data.j", "gte:5"),
        ("q", "x" * 2000),
    )

    assert set(found) == {
        "vote", "rating", "rating_min", "from", "to", "has_comment", "user_id", "data.k", "data.j", "q"
    }  # fmt: skip
    assert found["user_id"] == "give it once"
    assert "amazing, positive, negative, none" in found["vote"]
    assert "`ge:`" in found["data.j"]
    assert "2026-01-31" in found["from"]


@pytest.mark.parametrize(
    ("value", "operator", "text"),
    [
        ("gpt-4", Operator.EQ, "gpt-4"),
        ("eq:gpt-4", Operator.EQ, "gpt-4"),
        ("eq:lt:5", Operator.EQ, "lt:5"),
        ("eq:", Operator.EQ, ""),
        ("https://example.org", Operator.EQ, "https://example.org"),
        ("ne:a:b", Operator.NE, "a:b"),
        ("ge:5", Operator.GE, "5"),
        ("exists:false", Operator.EXISTS, "false"),
    ],
)
def test_a_comparison_is_an_operator_and_a_text(value: str, operator: Operator, text: str) -> None:
    """A value without an operator has to be equal."""
    assert compared(value) == (operator, text)


@pytest.mark.parametrize("key", ["a.b", 'quo"te', "x=y", "ключ", "nul\0", "data.x", "1"])
def test_any_key_can_be_compared(key: str) -> None:
    """Its name is everything after the first dot."""
    filters = parse_filters([(f"request.{key}", "1")])

    assert filters.comparisons == (Comparison("request", key, Operator.EQ, "1"),)
    assert parse_filters(to_parameters(filters)) == filters


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T08:00", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22 08:00:00", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22T08:00:00.123456Z", datetime(2026, 11, 22, 8, 0, 0, 123456, UTC)),
        ("2026-11-22T08:00:00+02:00", datetime(2026, 11, 22, 6, tzinfo=UTC)),
        ("2026-11-22T08:00:00 02:00", datetime(2026, 11, 22, 6, tzinfo=UTC)),
        ("2026-11-22T08:00:00+0200", datetime(2026, 11, 22, 6, tzinfo=UTC)),
        ("2026-11-22 08:00:00 UTC", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22T08:00:00.123456789Z", datetime(2026, 11, 22, 8, 0, 0, 123456, UTC)),
        ("1795334400", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("1795334400123", datetime(2026, 11, 22, 8, 0, 0, 123000, UTC)),
        ("1970-01-01", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2100-01-01", datetime(2100, 1, 1, tzinfo=UTC)),
        ("2100-01-01T00:00:00Z", datetime(2100, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_common_forms(text: str, moment: datetime) -> None:
    """UTC where no zone is named; a plus sign may have been decoded to a space."""
    filters = parse_filters([("from", text)])

    assert filters.last_from == moment
    assert parse_filters(to_parameters(filters)) == filters


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+05:00",
        "1969-12-31",
        "2100-01-01T00:00:01Z",
        "9999-12-31T23:59:59-05:00",
        "2026",
        "20261122",
        "99999999",
        "9999999999",
    ],
)
def test_times_that_the_table_cannot_hold_are_refused(text: str) -> None:
    """Also those that Python cannot hold in UTC, and years and days without hyphens, which are no seconds."""
    assert set(faults(("first_to", text))) == {"first_to"}


def test_an_empty_value_is_a_fault() -> None:
    """It would be no filter, and hand over everything; parameters of others are left to them."""
    assert set(faults(("q", ""), ("vote", ""), ("data.k", ""), ("from", ""), ("limit", ""))) == {
        "q", "vote", "data.k", "from"
    }  # fmt: skip


@pytest.mark.parametrize("text", ["...", " ", "&", "\0"])
def test_a_search_without_a_word_is_a_fault(text: str) -> None:
    """It would let every request through, with a comment or without."""
    assert set(faults(("q", text))) == {"q"}


def test_one_of_multiple_values_and_each_once() -> None:
    """Repeated parameters are a list without repeats."""
    filters = parse_filters([("model", "a"), ("model", "b"), ("model", "a"), ("tag", "x")])

    assert filters == Filters(model=("a", "b"), tag=("x",))


def test_numbers_are_jsons() -> None:
    """Whole ones that a row can hold stay exact."""
    assert number("9007199254740993") == 9007199254740993
    assert isinstance(number("5"), int)
    assert isinstance(number("18446744073709551616"), float)
    assert number("1e-05") == 1e-05
    assert [number(text) for text in ("", "+5", "05", ".5", "5.", "1e999", "NaN", "0x10", "٣", "1_000")] == [
        None
    ] * 10


def test_words_are_separated_by_ascii_alone() -> None:
    """As the index of comments has them; each once."""
    assert words("Naïve foo_bar, don't 3.5 naïve Naïve") == [
        "Naïve",
        "foo",
        "bar",
        "don",
        "t",
        "3",
        "5",
        "naïve",
    ]
    assert [word for word in words("日本語 ok ไทย école 한국어") if is_unspaced(word)] == ["日本語", "ไทย"]


def test_no_value_of_a_caller_is_part_of_the_sql() -> None:
    """All of them travel beside it, the tenant first."""
    hostile = "x') OR 1=1 --{p0:String}"
    names = (
        "request_id",
        "tag",
        "model",
        "provider",
        "source",
        "user_id",
        "session_id",
        "q",
        "data.k",
        f"data.{hostile}",
    )
    clause = where(hostile, parse_filters([(name, hostile) for name in names]))

    assert "1=1" not in clause.sql
    assert clause.sql.startswith("tenant = {tenant:String} AND ")
    assert clause.parameters["tenant"] == hostile
