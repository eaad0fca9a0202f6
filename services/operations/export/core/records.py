"""Whole records of a stream that may be cut anywhere, and the trailer at its end.

Output always ends with a whole record, so a cut transfer can be resumed.
"""

import csv
import json
import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

import orjson

MAX_ROW_BYTES = 64 << 20
"""Afterword never writes a longer record."""


class Trailer(NamedTuple):
    """The end of a transfer: its number of rows, and whether these are all."""

    rows: int
    complete: bool


class StrangeAnswerError(Exception):
    """The response is not an export of Afterword."""


class Records(Protocol):
    """Reads one transfer."""

    @property
    def rows(self) -> int:
        """Rows returned so far."""

    @property
    def last(self) -> str:
        """The request id of the last of them."""

    @property
    def trailer(self) -> Trailer | None:
        """The trailer, once it has arrived."""

    def feed(self, piece: bytes) -> bytes:
        """Return the complete records, without the trailer, and without the header if resumed."""


class NdjsonRecords:
    """NDJSON: one record per line; the trailer is an object of its own."""

    def __init__(self, *, resumed: bool) -> None:
        self.rows, self.last = 0, ""
        self.trailer: Trailer | None = None
        self._rest = b""
        _ = resumed

    def feed(self, piece: bytes) -> bytes:
        """Return the lines that are complete now, without the trailer."""
        whole, newline, rest = piece.rpartition(b"\n")
        if not newline:
            self._rest = _bounded(self._rest + piece)
            return b""
        whole, self._rest = self._rest + whole + b"\n", _bounded(rest)
        start = whole.rfind(b"\n", 0, -1) + 1
        if whole.startswith(_NDJSON_TRAILER, start):
            self.trailer = _parsed_trailer(whole[start + len(_NDJSON_TRAILER) : -2])
            whole = whole[:start]
        if whole:
            self.rows += whole.count(b"\n")
            self.last = _request_id(whole[whole.rfind(b"\n", 0, -1) + 1 :])
        return whole


class CsvRecords:
    """CSV: a record ends with a line break outside of quotes; the trailer is JSON in its only filled cell."""

    def __init__(self, *, resumed: bool) -> None:
        self.rows, self.last = 0, ""
        self.trailer: Trailer | None = None
        self._rest = b""
        self._awaits_header, self._has_header = True, resumed

    def feed(self, piece: bytes) -> bytes:
        """Return the complete records, without the trailer, and without the header if resumed."""
        data = self._rest + piece
        ends = _record_ends(data)
        self._rest = _bounded(data[ends[-1] if ends else 0 :])
        records = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        header = records[:1] if self._awaits_header else []
        records = records[len(header) :]
        self._awaits_header &= not header
        if records and (found := _CSV_TRAILER.fullmatch(records[-1])):
            self.trailer = _parsed_trailer(found[1].replace(b'""', b'"'))
            records.pop()
        if records:
            self.rows, self.last = self.rows + len(records), _first_cell(records[-1])
        return b"".join(records if self._has_header else header + records)


def _record_ends(data: bytes) -> list[int]:
    """Return where each whole record ends: between two ends the number of quotes is even."""
    ends, at, quotes = [], 0, 0
    while (end := data.find(b"\r\n", at)) >= 0:
        quotes += data.count(b'"', at, end)
        at = end + 2
        if quotes % 2 == 0:
            ends.append(at)
    return ends


class OpaqueRecords:
    """Parquet: passed on as it is; only the footer at the end has the number of rows."""

    last = ""

    def __init__(self, *, resumed: bool) -> None:
        self._tail = b""
        _ = resumed

    def feed(self, piece: bytes) -> bytes:
        """Return all of it."""
        self._tail = (self._tail + piece)[-_FOOTER_BYTES:]
        return piece

    @property
    def rows(self) -> int:
        """The rows of the footer; 0 before it has arrived."""
        trailer = self.trailer
        return trailer.rows if trailer else 0

    @property
    def trailer(self) -> Trailer | None:
        """The trailer in the footer; None if the file does not end with one."""
        start = self._tail.rfind(b'{"rows":')
        if start < 0 or not self._tail.endswith(b"PAR1"):
            return None
        text = self._tail[start:].decode(errors="replace")
        _, end = json.JSONDecoder().raw_decode(text)
        return _parsed_trailer(text[:end].encode())


_FOOTER_BYTES = 64 << 10
_NDJSON_TRAILER = b'{"trailer":'
_CSV_TRAILER = re.compile(rb'"# (\{""rows"":.*\})",{10,}\r\n', re.DOTALL)


def _bounded(rest: bytes) -> bytes:
    if len(rest) > MAX_ROW_BYTES:
        raise StrangeAnswerError(f"a row of more than {MAX_ROW_BYTES >> 20} MiB")
    return rest


def _parsed_trailer(text: bytes) -> Trailer:
    try:
        trailer = orjson.loads(text)
        return Trailer(int(trailer["rows"]), bool(trailer["complete"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StrangeAnswerError(f"its trailer is {text[:100]!r}") from error


def _request_id(line: bytes) -> str:
    try:
        return str(orjson.loads(line)["request_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise StrangeAnswerError(f"it has the line {line[:100]!r}") from error


def _first_cell(record: bytes) -> str:
    """Return the request id of a record, without the quote that escapes formulas."""
    cell = next(csv.reader([record.decode()], strict=True))[0]
    return cell.removeprefix("'")


RECORDS: dict[str, Callable[..., Records]] = {
    "csv": CsvRecords,
    "ndjson": NdjsonRecords,
    "parquet": OpaqueRecords,
}
"""By format.  `resumed`: earlier records, and the header, are in the file already."""
