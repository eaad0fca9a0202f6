"""Which formats can be joined block by block, and how long their headers are."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chdb_server.core.formats import (
    has_header,
    header_length,
    is_streamable,
    mime_type,
    native_header,
)

NAMES = st.lists(st.text(max_size=20), min_size=1, max_size=3)
ROWS = st.binary(max_size=50)


def binary_texts(texts: list[str]) -> bytes:
    """Write texts of up to 127 bytes as RowBinary does: a length, then the bytes."""
    return b"".join(bytes([len(text.encode())]) + text.encode() for text in texts)


def csv_line(texts: list[str]) -> bytes:
    """Write a line of CSV, everything quoted."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(texts)
    return out.getvalue().encode()


@given(NAMES, ROWS)
def test_a_csv_header_ends_with_its_line_even_if_names_hold_newlines_and_quotes(
    names: list[str], rows: bytes
) -> None:
    """Quotes are doubled inside quotes."""
    header = csv_line(names)

    assert len(header) == header_length("CSVWithNames", header + rows)
    assert len(header) * 2 == header_length("CSVWithNamesAndTypes", header * 2 + rows)


@given(NAMES, ROWS)
def test_a_binary_header_ends_with_its_last_text(names: list[str], rows: bytes) -> None:
    """Names, and types if there are any."""
    texts = binary_texts(names)
    count = bytes([len(names)])

    assert len(count + texts) == header_length("RowBinaryWithNames", count + texts + rows)
    assert len(count + texts * 2) == header_length("RowBinaryWithNamesAndTypes", count + texts * 2 + rows)


@given(NAMES, ROWS)
def test_a_json_header_is_one_line(names: list[str], rows: bytes) -> None:
    """Newlines in names are escaped there, as in TSV."""
    header = json.dumps(names).encode() + b"\n"

    assert len(header) == header_length("JSONCompactEachRowWithNames", header + rows)
    assert len(header) == header_length("TabSeparatedWithNames", header + rows)


@pytest.mark.parametrize("name", ["Native", "CSV", "JSONEachRow", "TSV", "RowBinary"])
def test_formats_without_a_header_are_joined_as_they_are(name: str) -> None:
    """Whatever the block holds."""
    assert is_streamable(name)
    assert not has_header(name)
    assert header_length(name, b"anything") == 0


@pytest.mark.parametrize("name", ["CSVWithNames", "csvwithnames", "TSVWithNamesAndTypes"])
def test_names_of_formats_are_read_in_any_case(name: str) -> None:
    """As the engine reads them."""
    assert has_header(name)
    assert is_streamable(name)


@pytest.mark.parametrize(
    "name", ["JSON", "Parquet", "ArrowStream", "Arrow", "ORC", "Values", "Pretty", "XML"]
)
def test_formats_of_one_document_cannot_be_joined(name: str) -> None:
    """They have a beginning, an end or separators."""
    assert not is_streamable(name)


def test_a_long_native_header_counts_as_varints() -> None:
    """Lengths above 127 take two bytes."""
    header = native_header([("n" * 200, "String")])

    assert header == b"\x01\x00\xc8\x01" + b"n" * 200 + b"\x06String"


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("JSON", "application/json; charset=UTF-8"),
        ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
        ("CSVWithNames", "text/csv; charset=UTF-8"),
        ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
        ("Native", "application/octet-stream"),
    ],
)
def test_content_types(name: str, mime: str) -> None:
    """So that browsers and tools show what can be shown."""
    assert mime == mime_type(name)
