"""Cut a stream of bytes into entries, one event each: lines of NDJSON, or values of JSON.

Pure: blocks of any size in, the same entries out, whatever the blocks were.  Memory is bounded by one
block and one entry.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple
from zlib import crc32

MAX_ENTRY_BYTES = 8 << 20
"""A longer entry is no event (those end at 512 KiB), so it is not held in memory."""

_TOO_LONG = f"longer than {MAX_ENTRY_BYTES >> 20} MiB"
_SPACE = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LEAD = _SPACE + _BYTE_ORDER_MARK

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _up_to(marks: bytes) -> re.Pattern[bytes]:
    """Return what matches through the next of these marks, over whole strings; no match: more is needed."""
    other = rb'[^"' + marks + rb"]*+"
    return re.compile(other + rb"(?:" + _STRING + other + rb")*+([" + marks + rb"])", re.DOTALL)


_BETWEEN, _WITHIN = _up_to(rb"\[\]{},"), _up_to(rb"\[\]{}")
"""The next mark that can end an entry: commas count only outside of brackets."""

_DEPTH = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}


class Place(NamedTuple):
    """A place in the decompressed file: bytes before it, the line it is on, CRC-32 of all bytes before.

    `items`: how many elements of the array lie before it.
    """

    offset: int = 0
    line: int = 1
    crc: int = 0
    items: int = 0

    def after(self, raw: bytes) -> "Place":
        """Return the place behind these bytes."""
        return Place(self.offset + len(raw), self.line + raw.count(b"\n"), crc32(raw, self.crc), self.items)


class Entry(NamedTuple):
    """One event as the file has it, without the space around it.  `fault` says why it is none.

    `item` is its number in the array, from 1; 0 where there is no array.
    """

    line: int
    text: bytes
    end: Place
    fault: str = ""
    item: int = 0

    @property
    def place(self) -> str:
        """Where it is in the file, for people: `12`, or `1, item 7`."""
        return f"{self.line}, item {self.item}" if self.item else f"{self.line}"


class BrokenFileError(ValueError):
    """The file cannot be read any further than `line`, where what its text says begins."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class Layout(Enum):
    """How a file holds its events."""

    LINES = "one JSON object a line"
    ARRAY = "a JSON array"
    VALUES = "JSON objects over several lines"


def layout_of(head: bytes) -> Layout:
    """Return the layout of the file that begins with `head`."""
    start = head.lstrip(_LEAD)
    if start.startswith(b"["):
        return Layout.ARRAY
    first_line, newline, _ = start.partition(b"\n")
    return Layout.VALUES if newline and start.startswith(b"{") and _is_open(first_line) else Layout.LINES


def _is_open(text: bytes) -> bool:
    depth, end = 0, 0
    while match := _WITHIN.match(text, end):
        depth, end = depth + _DEPTH[match[1][0]], match.end()
    return depth > 0


def splitter(layout: Layout, start: Place, *, ended: bool = False) -> "Lines | Values":
    """Return what cuts a file of this layout, from its beginning or from a place where an entry ended.

    `ended` says that the file ended there when it was read before; it may have grown since.
    """
    if layout is Layout.LINES:
        return Lines(start)
    return Values(start, in_array=layout is Layout.ARRAY, closed=ended)


class Lines:
    """NDJSON: an entry a line; blank lines are skipped; a bad line never spoils the next."""

    def __init__(self, start: Place) -> None:
        self.place, self._rest, self._too_long = start, b"", False

    def feed(self, block: bytes) -> Iterator[Entry]:
        """Yield the entries that end in this block."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            yield from self._entry(line + b"\n")
        if len(self._rest) > MAX_ENTRY_BYTES:
            self.place, self._rest, self._too_long = self.place.after(self._rest), b"", True

    def finish(self) -> Iterator[Entry]:
        """Yield the last line, if no newline ends it; `place` is then the end of the file."""
        raw, self._rest = self._rest, b""
        yield from self._entry(raw)

    def _entry(self, raw: bytes) -> Iterator[Entry]:
        line, text = self.place.line, raw.strip(_SPACE)
        if self.place.offset == 0:
            text = text.lstrip(_LEAD)
        self.place = self.place.after(raw)
        if self._too_long or len(text) > MAX_ENTRY_BYTES:
            self._too_long = False
            yield Entry(line, b"", self.place, f"the line is {_TOO_LONG}")
        elif text:
            yield Entry(line, text, self.place)


class Values:
    """The elements of one JSON array, or objects one after the other, each over any number of lines.

    It looks only at strings, brackets and commas: a value that is not JSON is an entry like any other,
    as long as its quotes and brackets close.  Behind one whose do not, nothing can be told apart.
    """

    def __init__(self, start: Place, *, in_array: bool, closed: bool = False) -> None:
        self.place, self._rest, self._scanned, self._depth = start, b"", 0, 0
        self._in_array, self._opened, self._closed = in_array, start.offset > 0, in_array and closed

    def feed(self, block: bytes) -> Iterator[Entry]:
        """Yield the entries that end in this block; BrokenFileError where none can be told apart."""
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

    def finish(self) -> Iterator[Entry]:
        """Yield what stands at the end; BrokenFileError if it only begins something."""
        if self._in_array and not self._closed:
            raise self._broken("the file ends inside the array")
        if self._depth:
            raise self._broken("the file ends inside the value that begins here")
        raw, self._rest, self._scanned = self._rest, b"", 0
        yield from self._entry(raw)

    def _open(self) -> bool:
        """Step over what stands before the first entry; False while that has not begun."""
        if self._in_array:
            start = self._rest.find(b"[") + 1
        else:
            start = len(self._rest) - len(self._rest.lstrip(_LEAD))
        self._opened = start > 0 if self._in_array else start < len(self._rest)
        if self._opened:
            self.place, self._rest = self.place.after(self._rest[:start]), self._rest[start:]
        return self._opened

    def _marks(self) -> Iterator[tuple[int, int]]:
        """Yield where each mark ends, and which it is; what follows the last one waits for the next block."""
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
        if len(self._rest) > MAX_ENTRY_BYTES:
            raise self._broken(f"the value that begins here is {_TOO_LONG}")

    def _entry(self, raw: bytes) -> Iterator[Entry]:
        line = self._line_of(raw)
        text = (raw[:-1] if self._in_array else raw).strip(_SPACE)  # the comma or bracket that ended it
        self.place = self.place.after(raw)
        if text and self._in_array:
            self.place = self.place._replace(items=self.place.items + 1)
        if text:
            yield Entry(line, text, self.place, item=self.place.items)

    def _broken(self, why: str) -> BrokenFileError:
        behind = f", behind item {self.place.items}" if self._in_array else ""
        return BrokenFileError(self._line_of(self._rest), f"{why}{behind}")

    def _line_of(self, raw: bytes) -> int:
        return self.place.line + raw.count(b"\n", 0, len(raw) - len(raw.lstrip(_SPACE)))
