"""Whatever strangers write, and wherever ClickHouse's answer is cut into blocks, a file gives it back."""

import string
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.query.exports.core.assembly import FORMATS, Assembly
from services.query.exports.core.encoder import ExportEnding, FileOptions
from services.query.exports.core.parquet_file import GroupSizes, ParquetFile
from services.query.exports.core.rows import ExportSelection, RowParser
from services.query.exports.core.text_files import neutral, original
from services.query.reads.core.filters import NO_FILTERS
from tests.support.query.export_rows import ROWS, TEXTS
from tests.support.query.exports import (
    cells_of,
    parquet_ending,
    pieces_of,
    read_csv,
    read_ndjson,
    read_parquet,
    tab_separated,
)

CUTS = st.lists(st.integers(1, 700), max_size=6)


def groups_of(file: bytes) -> list[Any]:
    """Return the row groups' descriptions, as Arrow reads them."""
    metadata = pq.read_metadata(pa.BufferReader(file))
    return [metadata.row_group(number) for number in range(metadata.num_row_groups)]


def bounds_of(group: Any) -> dict[str, tuple[Any, Any, int]]:
    """Return the least and the largest value of some columns, and how many values are NULL."""
    columns = map(group.column, range(group.num_columns))
    found = {column.path_in_schema: column.statistics for column in columns}
    return {
        name: (found[name].min, found[name].max, found[name].null_count) for name in ("request_id", "version")
    }


def bounds(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, Any, int]]:
    """Return the same of rows; texts are ordered by their bytes."""
    ids = [row["request_id"].encode() for row in rows]
    versions = [int(row["version"]) for row in rows]
    return {
        "request_id": (min(ids).decode(), max(ids).decode(), 0),
        "version": (min(versions), max(versions), 0),
    }


def file_of(
    format_: str, rows: list[dict[str, Any]], sizes: list[int], options: FileOptions | None = None
) -> bytes:
    """Return the file of rows that came in blocks of these sizes."""
    assembly = Assembly(ExportSelection("t", NO_FILTERS), FORMATS[format_].encoder(options or FileOptions()))
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


@settings(max_examples=50)
@given(rows=st.lists(ROWS, max_size=9), page=st.integers(1, 4), group=st.integers(1, 6))
def test_parquet_has_the_rows_wherever_pages_and_groups_end(
    rows: list[dict[str, Any]], page: int, group: int
) -> None:
    """Offsets, levels and counts fit, and what a group says of its rows is true of them."""
    encoder = ParquetFile(FileOptions(), GroupSizes(page_rows=page, group_rows=group))
    file = encoder.begin()
    lines = RowParser()
    for row in rows:
        file += encoder.rows(lines.feed(tab_separated([row], len(rows))))
    file += encoder.end(ExportEnding(len(rows), None, complete=True))

    assert rows == read_parquet(file)
    first = 0
    for each in groups_of(file):
        part = rows[first : first + each.num_rows]
        assert bounds_of(each) == bounds(part)
        first += each.num_rows
    assert first == len(rows)


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
@settings(max_examples=20)
@given(rows=st.lists(ROWS, min_size=1, max_size=3))
def test_a_trailer_is_no_row(format_: str, rows: list[dict[str, Any]]) -> None:
    """It comes last, and what stands before it is the file without one."""
    plain, with_trailer = (
        file_of(format_, rows, [], FileOptions(trailer=trailer)) for trailer in (False, True)
    )

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
