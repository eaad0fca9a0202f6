"""When an example gave what its page says."""

import pytest

from tests.support.docs.expectations import complaint_about_output, complaint_about_rows, fits, fits_json
from tests.support.docs.pages import Block, Rows


@pytest.mark.parametrize(
    ("expected", "actual", "is_fit"),
    [
        ("a", "a\n", True),
        ("a", "b", False),
        ("", "", True),
        ("", "a", False),
        ("a.c", "abc", False),
        ("took … s", "took 1.5 s", True),
        ("took … s", "took 1.5\nor more s", False),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nd", True),
        ("a\n…\nd", "a\nb", False),
        ("a\n…", "a", True),
        ("a  \nb", "a\nb   ", True),
        ("a", "a\nb", False),
    ],
)
def test_an_ellipsis_matches_what_differs(expected: str, actual: str, is_fit: bool) -> None:  # noqa: FBT001
    """Within a line for any text; alone on a line for any lines; everything else is literal."""
    assert is_fit is fits(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual", "is_fit"),
    [
        ({"a": 1, "b": "…"}, {"a": 1, "b": [2]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "…": "…"}, {"a": 1, "b": 2}, True),
        ({"a": 1, "…": "…"}, {"b": 2}, False),
        ({"a": "0199…"}, {"a": "0199-44"}, True),
        ({"a": "0199…"}, {"a": "0200-44"}, False),
        ([1, 2], [1, 2, 3], False),
        ([1, {"a": "…"}], [1, {"a": None}], True),
        (1, True, False),
        (1, 1.0, False),
        (None, None, True),
    ],
)
def test_a_document_fits_by_value_and_type(expected: object, actual: object, is_fit: bool) -> None:  # noqa: FBT001
    """Keys that the page leaves out are a difference, unless it says that there are more."""
    assert is_fit is fits_json(expected, actual)


def test_a_complaint_shows_both_sides() -> None:
    """Whoever reads it can mend the page or the code."""
    complaint = complaint_about_output(Block(1, "json", ("output",), '{"a": 1}'), '{"a": 2}')

    assert complaint == 'the page says\n{"a": 1}\nbut it gave\n{"a": 2}'


def test_output_that_is_no_json_is_a_complaint() -> None:
    """An error page, for example."""
    complaint = complaint_about_output(Block(1, "json", ("output",), "{}"), "Bad Gateway")

    assert complaint == "it printed no JSON:\nBad Gateway"


def test_rows_fit_by_cell() -> None:
    """A number of rows too many, or another header, is a difference."""
    expected = Rows(["model", "at"], [["gpt-x", "20…"]])

    assert complaint_about_rows(expected, Rows(["model", "at"], [["gpt-x", "2026-01-01"]])) is None
    assert complaint_about_rows(expected, Rows(["model", "at"], [["gpt-y", "2026-01-01"]]))
    assert complaint_about_rows(expected, Rows(["model", "when"], [["gpt-x", "2026-01-01"]]))
    assert complaint_about_rows(expected, Rows(["model", "at"], []))
