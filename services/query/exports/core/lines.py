"""From ClickHouse's TabSeparated text to rows, whatever blocks it comes in.  Pure.

A text format, for it costs ClickHouse and Python least: no value is built before somebody needs it.
"""

import re

from services.query.exports.core.columns import COLUMNS

Row = list[str]
"""The texts of a row, in the order of COLUMNS."""

_FIELDS = len(COLUMNS) + 1
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MEANT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "0": "\0"}
_CODE = re.compile(r"Code: ([0-9]+)")


class BrokenAnswerError(Exception):
    """What came is no row: ClickHouse tells of its failure in the middle of an answer, or ended early.

    `code` is ClickHouse's own, if it named one.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.strip()[:500])
        found = _CODE.search(text)
        self.code = int(found[1]) if found else None


class Lines:
    """Cuts blocks into rows.  The field behind a row's own is the same in all: how many there are."""

    def __init__(self) -> None:
        self.total: int | None = None
        """Rows that there were when ClickHouse began; None until the first row is there."""
        self._rest = b""
        self._last = ""

    def feed(self, block: bytes) -> list[Row]:
        """Return the rows that end in this block; raise BrokenAnswerError for what is none."""
        whole, newline, rest = block.rpartition(b"\n")
        if not newline:
            self._rest += block
            return []
        text = (self._rest + whole).decode(errors="replace")
        self._rest = rest
        lines = text.split("\n")
        return [self._row(line, lines, number) for number, line in enumerate(lines)]

    def end(self) -> None:
        """Raise BrokenAnswerError if the answer ended within a row."""
        if self._rest:
            raise BrokenAnswerError(self._rest.decode(errors="replace"))

    def _row(self, line: str, lines: list[str], number: int) -> Row:
        row = line.split("\t")
        last = row.pop()
        if self.total is None and last.isdecimal():
            self.total, self._last = int(last), last
        if len(row) + 1 != _FIELDS or last != self._last:
            raise BrokenAnswerError("\n".join(lines[number:]))
        if "\\" in line:
            row = [_ESCAPED.sub(_unescaped, text) if "\\" in text else text for text in row]
        return row


def _unescaped(found: re.Match[str]) -> str:
    return _MEANT.get(found[1], found[1])
