"""Whole records out of a stream that may be cut anywhere, and what its trailer says.  Pure.

What is passed on always ends with a whole record, so whatever was written can be gone on with.
"""

import csv
import json
import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

import orjson

MAX_ROW_BYTES = 64 << 20
"""A longer record is none of Afterword's."""


class Ending(NamedTuple):
    """What the server says at the end: rows of this transfer, and whether that is all."""

    rows: int
    complete: bool


class StrangeAnswerError(Exception):
    """What came is no export of Afterword's."""


class Records(Protocol):
    """Reads one transfer."""

    @property
    def rows(self) -> int:
        """Rows passed on."""

    @property
    def last(self) -> str:
        """The request id of the last of them."""

    @property
    def ending(self) -> Ending | None:
        """What the trailer says, once it is there."""

    def feed(self, piece: bytes) -> bytes:
        """Return the records that are whole now, but for the trailer, and the header of what goes on."""


class NdjsonRecords:
    """NDJSON: a record a line; the trailer is an object of its own."""

    def __init__(self, *, goes_on: bool) -> None:
        self.rows, self.last = 0, ""
        self.ending: Ending | None = None
        self._rest = b""
        _ = goes_on

    def feed(self, piece: bytes) -> bytes:
        """Return the lines that are whole now, but for the trailer."""
        whole, newline, rest = piece.rpartition(b"\n")
        if not newline:
            self._rest = _bounded(self._rest + piece)
            return b""
        whole, self._rest = self._rest + whole + b"\n", _bounded(rest)
        start = whole.rfind(b"\n", 0, -1) + 1
        if whole.startswith(_NDJSON_TRAILER, start):
            self.ending = _ending(whole[start + len(_NDJSON_TRAILER) : -2])
            whole = whole[:start]
        if whole:
            self.rows += whole.count(b"\n")
            self.last = _request_id(whole[whole.rfind(b"\n", 0, -1) + 1 :])
        return whole


class CsvRecords:
    """CSV: a record ends with a line break outside of quotes; the trailer has JSON in its one filled cell."""

    def __init__(self, *, goes_on: bool) -> None:
        self.rows, self.last = 0, ""
        self.ending: Ending | None = None
        self._rest = b""
        self._header_is_to_come, self._header_is_there = True, goes_on

    def feed(self, piece: bytes) -> bytes:
        """Return the records that are whole now, but for the trailer, and the header of what goes on."""
        data = self._rest + piece
        ends = _record_ends(data)
        self._rest = _bounded(data[ends[-1] if ends else 0 :])
        records = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        header = records[:1] if self._header_is_to_come else []
        records = records[len(header) :]
        self._header_is_to_come &= not header
        if records and (found := _CSV_TRAILER.fullmatch(records[-1])):
            self.ending = _ending(found[1].replace(b'""', b'"'))
            records.pop()
        if records:
            self.rows, self.last = self.rows + len(records), _first_cell(records[-1])
        return b"".join(records if self._header_is_there else header + records)


def _record_ends(data: bytes) -> list[int]:
    """Return where each whole record ends: an even number of quotes stands between two ends."""
    ends, at, quotes = [], 0, 0
    while (end := data.find(b"\r\n", at)) >= 0:
        quotes += data.count(b'"', at, end)
        at = end + 2
        if quotes % 2 == 0:
            ends.append(at)
    return ends


class OpaqueRecords:
    """Parquet: nothing can be told before its end, where the footer says how many rows there are."""

    last = ""

    def __init__(self, *, goes_on: bool) -> None:
        self._tail = b""
        _ = goes_on

    def feed(self, piece: bytes) -> bytes:
        """Return all of it."""
        self._tail = (self._tail + piece)[-_FOOTER_BYTES:]
        return piece

    @property
    def rows(self) -> int:
        """What the footer says; 0 before it is there."""
        ending = self.ending
        return ending.rows if ending else 0

    @property
    def ending(self) -> Ending | None:
        """What the footer says; None if the file does not end with one."""
        start = self._tail.rfind(b'{"rows":')
        if start < 0 or not self._tail.endswith(b"PAR1"):
            return None
        text = self._tail[start:].decode(errors="replace")
        _, end = json.JSONDecoder().raw_decode(text)
        return _ending(text[:end].encode())


_FOOTER_BYTES = 64 << 10
_NDJSON_TRAILER = b'{"trailer":'
_CSV_TRAILER = re.compile(rb'"# (\{""rows"":.*\})",{10,}\r\n', re.DOTALL)


def _bounded(rest: bytes) -> bytes:
    if len(rest) > MAX_ROW_BYTES:
        raise StrangeAnswerError(f"a row of more than {MAX_ROW_BYTES >> 20} MiB")
    return rest


def _ending(text: bytes) -> Ending:
    try:
        trailer = orjson.loads(text)
        return Ending(int(trailer["rows"]), bool(trailer["complete"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StrangeAnswerError(f"its trailer is {text[:100]!r}") from error


def _request_id(line: bytes) -> str:
    try:
        return str(orjson.loads(line)["request_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise StrangeAnswerError(f"it has the line {line[:100]!r}") from error


def _first_cell(record: bytes) -> str:
    """Return the request id of a record, as it was before it was kept from looking like a formula."""
    cell = next(csv.reader([record.decode()], strict=True))[0]
    return cell.removeprefix("'")


RECORDS: dict[str, Callable[..., Records]] = {
    "csv": CsvRecords,
    "ndjson": NdjsonRecords,
    "parquet": OpaqueRecords,
}
"""By format.  `goes_on` says that earlier records, and the header, are there already."""
