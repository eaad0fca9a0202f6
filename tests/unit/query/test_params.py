"""The parameters of a request: every fault at once, and a near match for what does not exist."""

import pytest
from fastapi import Request

from services.query.api.params import Params, params_of
from services.query.core.problems import QueryProblem
from services.query.reads.core.filters import BLANK, parse_filters


def asking(query: bytes) -> Request:
    """Return a request with this query."""
    return Request({"type": "http", "query_string": query, "headers": []})


def faults(query: bytes) -> dict[str, str]:
    """Return what a list of rows would say of a query."""
    with pytest.raises(QueryProblem) as refused:
        read(query)
    assert str(refused.value.code) == "invalid_query"
    return dict(refused.value.faults)


def read(query: bytes) -> None:
    """Read a query as a list of rows does."""
    with params_of(asking(query), {"order", "limit"}) as found:
        found.filters()
        found.choice("order", ("rating", "-rating"), "rating")
        found.whole("limit", 50, least=1, most=1000)


def test_all_faults_come_at_once() -> None:
    """Of unknown parameters, filters and the route's own."""
    found = faults(b"ratng_min=1&rating_max=x&order=ratings&limit=0&wobble=1&data.=1&vote=odd")

    assert found == {
        "ratng_min": "there is no such parameter; did you mean rating_min?",
        "wobble": "there is no such parameter",
        "data.": "there is no such parameter",
        "rating_max": "'x' is not a number",
        "vote": "'odd' is none of amazing, positive, negative, none",
        "order": "'ratings' is none of rating, -rating; did you mean rating?",
        "limit": "a whole number from 1 to 1000",
    }


@pytest.mark.parametrize(
    "limit", [b"0", b"1001", b"-1", b"1.5", b"%C2%B2", b"1e2", b"99999999999999999999", b"1&limit=2"]
)
def test_a_limit_is_a_whole_number_within_bounds(limit: bytes) -> None:
    """Given once."""
    assert set(faults(b"limit=" + limit)) == {"limit"}


@pytest.mark.parametrize("query", [b"q=na%C3%AFve", b"q=na%c3%afve&limit=2", b"limit=1&q=na%C3%AFve"])
def test_text_is_percent_encoded_utf8(query: bytes) -> None:
    """In either case of the digits, wherever it stands."""
    with params_of(asking(query), {"limit"}) as found:
        assert ("q", "naïve") in found.parameters


@pytest.mark.parametrize("query", [b"q=%ff", b"q=\xff", b"q=%C3"])
def test_bytes_that_are_no_text_are_refused(query: bytes) -> None:
    """Nobody would find what was meant."""
    assert faults(query) == {"": "the parameters are not UTF-8"}


def test_filters_are_faults_where_there_is_nothing_to_filter() -> None:
    """A route that has none refuses them like any other unknown parameter."""
    with (
        pytest.raises(QueryProblem, match="vote: there is no such parameter"),
        params_of(asking(b"vote=positive"), {"wait"}, filters=False),
    ):
        pass


@pytest.mark.parametrize(
    "query", [b"user_id=", b"user_id", b"model=a&model=", b"data.judge=", b"limit=", b"order="]
)
def test_a_parameter_without_a_value_is_a_fault(query: bytes) -> None:
    """As no filter, it would let everything through: a variable that was not set, most of the time."""
    name = query.split(b"=")[0].decode()

    assert faults(query) == {name: BLANK}


def test_an_empty_cursor_is_the_first_page() -> None:
    """As a loop sends it that begins with an empty text."""
    with params_of(asking(b"model=a&cursor="), {"cursor"}) as found:
        assert found.text("cursor") == ""


def test_a_form_sends_fields_that_were_left_blank() -> None:
    """A page takes them as not given; what it is unsure of stays a fault."""
    with params_of(asking(b"user_id=&model=a&order=&data.x="), {"order"}, form=True) as found:
        assert found.filters() == parse_filters([("model", "a")])
        assert found.text("order", "rating") == "rating"
    with pytest.raises(QueryProblem), params_of(asking(b"usr_id="), form=True):
        pass


def test_defaults_apply_to_omitted_parameters() -> None:
    """An empty value of a form counts as not given."""
    found = Params([("limit", ""), ("order", "")])

    assert found.whole("limit", 50, least=1, most=1000) == 50
    assert found.choice("order", ("a",), "b") == "b"
    assert found.text("cursor") == ""
    assert found.faults == []
