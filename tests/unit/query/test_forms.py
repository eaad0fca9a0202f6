"""The filter bar, and what its form sends."""

import pytest

from services.query.dashboard.core.forms import bar, canonical, label
from services.query.dashboard.routing import PageParams
from services.query.reads.core.filters import parse_filters

Parameters = list[tuple[str, str]]


def asked(*parameters: tuple[str, str], **extra: str) -> PageParams:
    """Return what a page is asked by these parameters."""
    return PageParams(parse_filters(parameters), extra)


def test_every_filter_is_a_chip_that_takes_it_away() -> None:
    """And leaves the others, and the page's own parameters but the place in the list."""
    shown = bar("/", asked(("tag", "a"), ("tag", "b"), ("rating_max", "2"), order="rating", cursor="x"))
    assert [(chip.label, chip.href) for chip in shown.chips] == [
        ("Rating to: 2.0", "/?tag=a&tag=b&order=rating"),
        ("Tag: a", "/?rating_max=2.0&tag=b&order=rating"),
        ("Tag: b", "/?rating_max=2.0&tag=a&order=rating"),
    ]
    assert shown.clear == "/?order=rating"


def test_a_quick_filter_is_set_and_removed() -> None:
    """One of votes and sentiments at a time: they contradict each other."""
    shown = {
        quick.label: quick for quick in bar("/", asked(("sentiment", "negative"), ("q", "refund"))).quick
    }
    assert shown["Negative"].is_on
    assert shown["Negative"].href == "/?q=refund"
    assert not shown["Positive"].is_on
    assert shown["Positive"].href == "/?q=refund&sentiment=positive"
    assert shown["Amazing"].href == "/?q=refund&vote=amazing"
    assert shown["With a comment"].href == "/?sentiment=negative&q=refund&has_comment=true"


def test_what_has_no_field_is_carried_along() -> None:
    """Several values of a filter, and comparisons, are not lost when the form is sent."""
    carried = bar(
        "/", asked(("model", "m"), ("vote", "positive"), ("vote", "amazing"), ("data.k", "gt:1"))
    ).carried
    assert set(carried) == {("model", "m"), ("vote", "positive"), ("vote", "amazing"), ("data.k", "gt:1")}


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ([("q", ""), ("tag", "")], []),
        ([("tag", "a"), ("tag", "a")], [("tag", "a")]),
        ([("where_key", "judge"), ("where_value", "3"), ("where_is", "ge")], [("data.judge", "ge:3")]),
        ([("where_part", "request"), ("where_key", " n "), ("where_value", "x")], [("request.n", "eq:x")]),
        (
            [("where_key", "judge"), ("where_is", "exists"), ("where_value", "")],
            [("data.judge", "exists:true")],
        ),
        (
            [("where_key", "judge"), ("where_is", "exists"), ("where_value", "false")],
            [("data.judge", "exists:false")],
        ),
        ([("where_key", ""), ("where_value", "3"), ("where_is", "ge"), ("where_part", "data")], []),
        ([("where_key", "judge"), ("where_value", "")], []),
        (
            [("where_key", "k"), ("where_value", "v"), ("where_is", "like"), ("where_part", "tenant")],
            [("data.k", "eq:v")],
        ),
    ],
)
def test_a_form_has_one_short_address(sent: Parameters, address: Parameters) -> None:
    """Without what was left empty, and with a comparison written as everywhere."""
    assert canonical(sent) == address
    assert canonical(address) == address


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("data.judge", "ge:3", "data.judge ≥ 3"),
        ("data.judge", "exists:false", "data.judge does not exist"),
        ("has_comment", "false", "without a comment"),
        ("orphan", "true", "without request data"),
        ("vote", "negative", "Vote: 👎 negative"),
        ("vote", "none", "Vote: none"),
        ("from", "2026-11-22T00:00:00Z", "From: 2026-11-22T00:00:00Z"),
    ],
)
def test_a_filter_is_shown_in_words(name: str, value: str, words: str) -> None:
    """As a chip shows it."""
    assert label(name, value) == words
