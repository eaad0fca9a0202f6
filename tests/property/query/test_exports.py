"""Whatever strangers write, and wherever ClickHouse's answer is cut into blocks, a file gives it back."""

import string
from datetime import datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.query.exports.assembly import Assembly
from services.query.exports.encoder import Options
from services.query.exports.formats import FORMATS
from services.query.exports.formulas import neutral, original
from services.query.exports.statement import Wanted
from services.query.filters import NO_FILTERS
from tests.support.exports import (
    cells_of,
    export_row,
    parquet_ending,
    pieces_of,
    read_csv,
    read_ndjson,
    read_parquet,
    tab_separated,
)

HOSTILE = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n-1", " =1", "\u00a0=cmd|' /C calc'!A0", "\ufeff=1",
    "'=1", "'", "''", "\uff1d1", "a,b", 'say "hi"', '"', '""', "line\nbreak", "cr\r\nlf", "nul\0byte", "\\N",
    "\\", "back\\tslash", "tab\there", "é", "日本", "😀",
    "\u2028", "\x7f", "\x1b[31m", "<script>", "{}", "[]",
    "null", "0", "#", "%s", "__exception__", "\r\n__exception__\r\nabc\r\nCode: 241. DB::Exception",
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text(st.sampled_from("=+-@'\t\r\n \"\\,;" + string.ascii_letters), max_size=8),
)
FLOATS = st.one_of(st.none(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=4,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1)).map(  # noqa: DTZ001 (UTC, as the texts are)
    lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
)
ROWS = st.builds(
    export_row,
    TEXTS.map(lambda text: text or "r"),
    version=st.integers(0, 2**64 - 1).map(str),
    first_received_at=TIMES,
    sources=st.lists(TEXTS, max_size=2),
    rating=FLOATS,
    vote=TEXTS,
    comment=TEXTS,
    helpful=st.sampled_from((True, False, None)),
    user_id=TEXTS,
    tags=st.lists(TEXTS, max_size=3),
    model=TEXTS,
    cost_usd=FLOATS,
    started_at=st.none() | TIMES,
    data=OBJECTS,
    request=OBJECTS,
)
CUTS = st.lists(st.integers(1, 700), max_size=6)


def file_of(
    format_: str, rows: list[dict[str, Any]], sizes: list[int], options: Options | None = None
) -> bytes:
    """Return the file of rows that came in blocks of these sizes."""
    assembly = Assembly(Wanted("t", NO_FILTERS), FORMATS[format_].encoder(options or Options()))
    file = assembly.begin()
    for block in pieces_of(tab_separated(rows), sizes):
        file += assembly.feed(block)
    assembly.answered()
    return file + assembly.end()


@settings(max_examples=50)
@given(rows=st.lists(ROWS, max_size=4), sizes=CUTS)
def test_ndjson_has_the_rows_as_lists_have_them(rows: list[dict[str, Any]], sizes: list[int]) -> None:
    """Each line is an item, and no value breaks a line."""
    assert rows == read_ndjson(file_of("ndjson", rows, sizes))


@settings(max_examples=50)
@given(rows=st.lists(ROWS, max_size=4), sizes=CUTS)
def test_csv_has_every_value_in_its_cell(rows: list[dict[str, Any]], sizes: list[int]) -> None:
    """Python's own reader, which is strict, finds each text, marked where a spreadsheet would run it."""
    found = read_csv(file_of("csv", rows, sizes))

    assert [set(row) for row in rows] == [set(row) for row in found]
    for row, cells in zip(rows, found, strict=True):
        expected = cells_of(row, neutral)
        numbers = {name for name in ("rating", "cost_usd") if row[name] is not None}
        assert {name: float(cells[name]) for name in numbers} == {name: row[name] for name in numbers}
        assert {name: cells[name] for name in cells if name not in numbers} == {
            name: cell for name, cell in expected.items() if name not in numbers
        }
        assert original(cells["comment"]) == row["comment"]


@settings(max_examples=50)
@given(rows=st.lists(ROWS, max_size=4), sizes=CUTS)
def test_parquet_has_the_rows_with_their_types(rows: list[dict[str, Any]], sizes: list[int]) -> None:
    """Times, numbers and lists come back as what they are, NULL as NULL and an empty text as one."""
    file = file_of("parquet", rows, sizes)

    assert rows == read_parquet(file)
    assert parquet_ending(file) == {"rows": len(rows), "next_cursor": None, "complete": True}


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
@settings(max_examples=20)
@given(rows=st.lists(ROWS, min_size=1, max_size=3))
def test_a_trailer_is_no_row(format_: str, rows: list[dict[str, Any]]) -> None:
    """It comes last, and what stands before it is the file without one."""
    plain, with_trailer = (file_of(format_, rows, [], Options(trailer=trailer)) for trailer in (False, True))

    assert with_trailer.startswith(plain)
    ending = orjson.dumps({"rows": len(rows), "next_cursor": None, "complete": True}).decode()
    if format_ == "csv":
        assert read_csv(with_trailer)[-1]["request_id"] == f"# {ending}"
    else:
        assert with_trailer[len(plain) :].decode() == f'{{"trailer":{ending}}}\n'


@given(text=TEXTS)
def test_no_text_is_lost_by_being_made_harmless(text: str) -> None:
    """One apostrophe less gives every text back, and none begins like a formula, whatever stands before."""
    cell = neutral(text)

    assert original(cell) == text
    assert not cell.lstrip(string.whitespace + "\0\u00a0\ufeff\u200b").startswith(
        tuple("=+-@\uff1d\uff0b\uff0d\uff20")
    )
    assert not cell.startswith(("\t", "\r", "\n"))
