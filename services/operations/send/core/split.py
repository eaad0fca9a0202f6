"""Splitting a stream of bytes into entries, one event each: lines of NDJSON, values of JSON, rows of CSV.

Blocks of any size give the same entries.  Memory is bounded by one block and one entry.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple, Protocol
from zlib import crc32

_NEEDED = "send takes JSON, NDJSON or CSV in UTF-8, plain, gzip or zstd"

_MAGIC = (
    ((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"), "text in UTF-32", "iconv -f UTF-32 -t UTF-8 FILE > NEW"),
    ((b"\xff\xfe", b"\xfe\xff"), "text in UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    ((b"{\0", b"[\0"), "text in UTF-16", "iconv -f UTF-16LE -t UTF-8 FILE > NEW"),
    ((b"\0{", b"\0["), "text in UTF-16", "iconv -f UTF-16BE -t UTF-8 FILE > NEW"),
    (
        (b"PK\x03\x04",),
        "an Excel workbook (.xlsx) or another ZIP archive",
        "save it as CSV in UTF-8, or unpack it",
    ),
    ((b"\xd0\xcf\x11\xe0",), "an Excel workbook (.xls)", "save it as CSV in UTF-8"),
    ((b"PAR1",), "a Parquet file", "duckdb -c \"COPY (FROM 'FILE') TO 'FILE.ndjson' (FORMAT json)\""),
    ((b"BZh",), "compressed by bzip2", "bunzip2 -k FILE"),
    ((b"\xfd7zXZ",), "compressed by xz", "unxz -k FILE"),
    ((b"%PDF",), "a PDF", "export the data as JSON or CSV"),
    ((b"<",), "HTML or XML", "export the data as JSON: this may be a saved error or sign-in page"),
)

_HEADER = re.compile(rb"[^\[{,;\t]*(?P<mark>[,;\t])[^\[{]*\Z")


def not_json(head: bytes, *, can_be_csv: bool = False) -> str:
    """Return which format the beginning of a file shows, and a remedy; empty if it may be JSON, or CSV."""
    for magics, kind, remedy in _MAGIC:
        if head.startswith(magics):
            return _unsupported(kind, remedy)
    first, _, _ = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if not can_be_csv and first[:1] not in (b"{", b"[", b'"') and _HEADER.match(first.strip()):
        return "this is CSV: send it with --from csv, and a --map for each column"
    return ""


def not_utf8(text: bytes) -> str:
    """Return why the text of an event is not UTF-8; empty if it is."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return (
            f"not UTF-8 (byte 0x{text[error.start]:02x} at {error.start + 1}): Latin-1 or Windows-1252, most "
            "of the time; convert the file: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
        )
    return ""


def _unsupported(kind: str, remedy: str) -> str:
    return f"this is {kind}, and {_NEEDED}; to convert it: {remedy}"


MAX_ENTRY_BYTES = 8 << 20
"""A longer entry is not an event (at most 512 KiB), so it is not kept in memory."""

_TOO_LONG = f"longer than {MAX_ENTRY_BYTES >> 20} MiB"
_SPACE = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LEAD = _SPACE + _BYTE_ORDER_MARK

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _up_to(marks: bytes) -> re.Pattern[bytes]:
    """Return a pattern up to the next of these marks outside of strings; no match: more is needed."""
    other = rb'[^"' + marks + rb"]*+"
    return re.compile(other + rb"(?:" + _STRING + other + rb")*+([" + marks + rb"])", re.DOTALL)


_BETWEEN, _WITHIN = _up_to(rb"\[\]{},"), _up_to(rb"\[\]{}")
"""The next mark that can end an entry: commas count only outside of brackets."""

_DEPTH = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}


class FilePosition(NamedTuple):
    """A position in the decompressed file: offset, line, and CRC-32 of all bytes before it.

    `items`: the number of array elements before it.
    """

    offset: int = 0
    line: int = 1
    crc: int = 0
    items: int = 0

    def after(self, raw: bytes) -> "FilePosition":
        """Return the position behind these bytes."""
        return FilePosition(
            self.offset + len(raw), self.line + raw.count(b"\n"), crc32(raw, self.crc), self.items
        )


class SendEntry(NamedTuple):
    """The text of one event, without surrounding space.  `fault`: why it is not an event; `code`: its kind.

    `item` is its number in the array, from 1; 0 without an array.  `at`, RFC 3339 in UTC, orders the items of
    an export; empty for events, which are in the order of the file.
    """

    line: int
    text: bytes
    end: FilePosition
    fault: str = ""
    item: int = 0
    code: str = "malformed_json"
    at: str = ""

    @property
    def place(self) -> str:
        """Its line and item as text: `12`, or `1, item 7`."""
        return f"{self.line}, item {self.item}" if self.item else f"{self.line}"


class BrokenFileError(ValueError):
    """The file cannot be read beyond `line`; the text is the reason."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class FileLayout(Enum):
    """The layout of events in a file."""

    LINES = "one JSON object a line"
    ARRAY = "a JSON array"
    VALUES = "JSON objects over several lines"
    CSV = "CSV with a header"


class Splitter(Protocol):
    """Splits a stream of bytes into entries."""

    @property
    def place(self) -> FilePosition:
        """The position behind the last entry."""

    def feed(self, block: bytes) -> Iterator[SendEntry]:
        """Yield the entries that end in this block; BrokenFileError if they cannot be separated."""

    def finish(self) -> Iterator[SendEntry]:
        """Yield the last entry; `place` is the end of the file then.  BrokenFileError if it is incomplete."""


def layout_of(head: bytes, *, can_be_csv: bool = False) -> FileLayout:
    """Return the layout of the file that begins with `head`."""
    start = head.lstrip(_LEAD)
    if can_be_csv and start[:1] not in (b"{", b"["):
        return FileLayout.CSV
    if start.startswith(b"["):
        return FileLayout.ARRAY
    first_line, newline, _ = start.partition(b"\n")
    return (
        FileLayout.VALUES if newline and start.startswith(b"{") and _is_open(first_line) else FileLayout.LINES
    )


def _is_open(text: bytes) -> bool:
    depth, end = 0, 0
    while match := _WITHIN.match(text, end):
        depth, end = depth + _DEPTH[match[1][0]], match.end()
    return depth > 0


def splitter(
    layout: FileLayout, start: FilePosition, *, ended: bool = False, longest: int = MAX_ENTRY_BYTES
) -> Splitter:
    """Return a splitter of this layout, from the beginning or from the end of an entry.

    `ended`: the file ended there when it was read before; it may have grown since.  `longest`: bytes of the
    longest JSON value that is not a line.
    """
    if layout is FileLayout.LINES:
        return LineSplitter(start)
    if layout is FileLayout.CSV:
        return CsvSplitter(start)
    return ValueSplitter(start, in_array=layout is FileLayout.ARRAY, closed=ended, longest=longest)


class LineSplitter:
    """NDJSON: one entry per line; blank lines are skipped; a bad line does not affect the next."""

    _around = _SPACE

    def __init__(self, start: FilePosition) -> None:
        self.place, self._rest, self._too_long = start, b"", False

    def feed(self, block: bytes) -> Iterator[SendEntry]:
        """Yield the entries that end in this block."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            yield from self._entry(line + b"\n")
        if len(self._rest) > MAX_ENTRY_BYTES:
            self.place, self._rest, self._too_long = self.place.after(self._rest), b"", True

    def finish(self) -> Iterator[SendEntry]:
        """Yield a last line without a newline; `place` is the end of the file then."""
        raw, self._rest = self._rest, b""
        yield from self._entry(raw)

    def _entry(self, raw: bytes) -> Iterator[SendEntry]:
        line, text = self.place.line, raw.strip(self._around)
        if self.place.offset == 0:
            text = text.lstrip(_LEAD)
        self.place = self.place.after(raw)
        if self._too_long or len(text) > MAX_ENTRY_BYTES:
            self._too_long = False
            yield SendEntry(line, b"", self.place, f"the line is {_TOO_LONG}")
        elif text:
            yield SendEntry(line, text, self.place)


class CsvSplitter(LineSplitter):
    """CSV: one entry per row, the header included; a row with line breaks in quotes has several lines."""

    _around = b"\r\n"

    def __init__(self, start: FilePosition) -> None:
        super().__init__(start)
        self._row, self._quoted = bytearray(), False

    def feed(self, block: bytes) -> Iterator[SendEntry]:
        """Yield the rows that end in this block; BrokenFileError if one is too long."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            yield from self._line(line + b"\n")
        if len(self._row) + len(self._rest) > MAX_ENTRY_BYTES:
            raise BrokenFileError(
                self.place.line, f"the row that begins here is {_TOO_LONG}; is a quote missing?"
            )

    def finish(self) -> Iterator[SendEntry]:
        """Yield a last row without a newline; BrokenFileError if it is incomplete."""
        rest, self._rest = self._rest, b""
        yield from self._line(rest)
        if self._quoted:
            raise BrokenFileError(self.place.line, "the file ends inside quotes, in the row that begins here")

    def _line(self, line: bytes) -> Iterator[SendEntry]:
        self._row += line
        self._quoted ^= line.count(b'"') % 2 == 1
        if not self._quoted:
            row, self._row = bytes(self._row), bytearray()
            yield from self._entry(row)


class ValueSplitter:
    """The elements of one JSON array, or a sequence of objects, each over any number of lines.

    Only strings, brackets and commas are parsed: a value that is not JSON is an entry as long as its quotes
    and brackets are balanced.  Behind an unbalanced one, entries cannot be separated.
    """

    def __init__(
        self, start: FilePosition, *, in_array: bool, closed: bool = False, longest: int = MAX_ENTRY_BYTES
    ) -> None:
        self._longest = longest
        self.place, self._rest, self._scanned, self._depth = start, b"", 0, 0
        self._in_array, self._opened, self._closed = in_array, start.offset > 0, in_array and closed

    def feed(self, block: bytes) -> Iterator[SendEntry]:
        """Yield the entries that end in this block; BrokenFileError if they cannot be separated."""
        self._rest += block
        if not self._opened and not self._open():
            return
        taken = 0
        for end, mark in self._marks():
            if self._ends_entry(mark):
                yield from self._entry(self._rest[taken:end])
                taken = end
        self._rest, self._scanned = self._rest[taken:], self._scanned - taken
        self._check_rest()

    def finish(self) -> Iterator[SendEntry]:
        """Yield the last entry; BrokenFileError if it is incomplete."""
        if self._in_array and not self._closed:
            raise self._broken("the file ends inside the array")
        if self._depth:
            raise self._broken("the file ends inside the value that begins here")
        raw, self._rest, self._scanned = self._rest, b"", 0
        yield from self._entry(raw)

    def _open(self) -> bool:
        """Skip what precedes the first entry; False if that has not begun yet."""
        if self._in_array:
            start = self._rest.find(b"[") + 1
        else:
            start = len(self._rest) - len(self._rest.lstrip(_LEAD))
        self._opened = start > 0 if self._in_array else start < len(self._rest)
        if self._opened:
            self.place, self._rest = self.place.after(self._rest[:start]), self._rest[start:]
        return self._opened

    def _marks(self) -> Iterator[tuple[int, int]]:
        """Yield the end of each mark, and the mark; what follows the last one waits for the next block."""
        while not self._closed:
            match = (_WITHIN if self._depth else _BETWEEN).match(self._rest, self._scanned)
            if match is None:
                return
            self._scanned = match.end()
            yield match.end(), match[1][0]

    def _ends_entry(self, mark: int) -> bool:
        before, self._depth = self._depth, max(0, self._depth + _DEPTH.get(mark, 0))
        if not self._in_array:
            return before > 0 and self._depth == 0
        self._closed = before == 0 and mark == ord("]")
        return before == 0 and mark in b",]"

    def _check_rest(self) -> None:
        if self._closed and self._rest.strip(_SPACE):
            raise self._broken("something follows the end of the array")
        if len(self._rest) > self._longest:
            raise self._broken(f"the value that begins here is longer than {self._longest >> 20} MiB")

    def _entry(self, raw: bytes) -> Iterator[SendEntry]:
        line = self._line_of(raw)
        text = (raw[:-1] if self._in_array else raw).strip(_SPACE)  # the comma or bracket that ended it
        self.place = self.place.after(raw)
        if text and self._in_array:
            self.place = self.place._replace(items=self.place.items + 1)
        if text:
            yield SendEntry(line, text, self.place, item=self.place.items)

    def _broken(self, why: str) -> BrokenFileError:
        behind = f", behind item {self.place.items}" if self._in_array else ""
        return BrokenFileError(self._line_of(self._rest), f"{why}{behind}")

    def _line_of(self, raw: bytes) -> int:
        return self.place.line + raw.count(b"\n", 0, len(raw) - len(raw.lstrip(_SPACE)))
