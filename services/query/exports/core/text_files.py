"""CSV and NDJSON.

CSV follows RFC 4180: a header, CRLF, quotes where they are needed.  Lists and objects are JSON text, NULL
is an empty cell, and texts that a spreadsheet would run as formulas are neutralised.  Written here,
because Python's own writer looks at each character of each cell, which takes three times as long.
"""

import re
from collections.abc import Callable, Sequence

import orjson

from services.query.exports.core.encoder import ExportEnding, FileOptions
from services.query.exports.core.rows import COLUMNS, NAMES, Row, TextKind

_MARK = "'"
_SUSPECT = re.compile(
    # What spreadsheets skip or strip: space of any kind, control characters, marks without width.
    r"[\s\x00-\x20\x7f-\xa0\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]*"
    # The signs that begin a formula, also in their full-width forms.
    r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
    r"|[\t\r\n']"
)


def neutral(text: str) -> str:
    """Return a text as a cell that no spreadsheet runs as a formula: with an apostrophe in front if needed.

    A text that begins with an apostrophe gets one, too, so that `original` restores every text.
    """
    if not text or text[0].isalnum() or not _SUSPECT.match(text):
        return text
    return _MARK + text


def original(cell: str) -> str:
    """Return the text of a cell that `neutral` returned."""
    return cell.removeprefix(_MARK)


_BYTE_ORDER_MARK = "\ufeff"
_END = "\r\n"
_NEEDS_QUOTES = re.compile(r'[,"\r\n]')


class CsvFile:
    """Encodes rows as CSV."""

    def __init__(self, options: FileOptions) -> None:
        self._options = options

    def begin(self) -> bytes:
        """Return the header row."""
        return ((_BYTE_ORDER_MARK if self._options.bom else "") + ",".join(NAMES) + _END).encode()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return the rows as lines; quoted cells may hold line breaks."""
        return "".join([_csv_line(row) for row in rows]).encode()

    def end(self, ending: ExportEnding) -> bytes:
        """Return the trailer, if requested: a row whose first cell is `#` and JSON."""
        cells = [_quoted(f"# {ending.json()}"), *[""] * (len(NAMES) - 1)]
        return (",".join(cells) + _END).encode() if self._options.trailer else b""


def _csv_line(row: Row) -> str:
    return ",".join([cell(text) for cell, text in zip(_CELLS, row, strict=True)]) + _END


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _csv_text(text: str) -> str:
    cell = neutral(text)
    return _quoted(cell) if _NEEDS_QUOTES.search(cell) else cell


def _csv_json(text: str) -> str:
    return _quoted(text) if text else ""


_CSV_CELLS: dict[TextKind, Callable[[str], str]] = {
    TextKind.TEXT: _csv_text,
    TextKind.VERSION: str,
    TextKind.TIME: str,
    TextKind.NUMBER: str,
    TextKind.FLAG: str,
    TextKind.TEXTS: _csv_json,
    TextKind.OBJECT: _csv_json,
}
_CELLS = tuple(_CSV_CELLS[column.kind] for column in COLUMNS)


class NdjsonFile:
    """Encodes rows as lines of JSON."""

    def __init__(self, options: FileOptions) -> None:
        self._options = options

    def begin(self) -> bytes:
        """Return nothing: lines need no header."""
        return b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a line for each row."""
        return "".join([_json_line(row) for row in rows]).encode()

    def end(self, ending: ExportEnding) -> bytes:
        """Return the trailer, if requested: an object with a key that no row has."""
        return b'{"trailer":%s}\n' % ending.json().encode() if self._options.trailer else b""


def _json_line(row: Row) -> str:
    return _LINE % tuple([value(text) for value, text in zip(_VALUES, row, strict=True)])


def _json_text(text: str) -> str:
    return orjson.dumps(text).decode() if text else '""'


def _plain(text: str) -> str:
    """Return a text without characters to escape as JSON."""
    return f'"{text}"' if text else "null"


def _verbatim(text: str) -> str:
    return text or "null"


def _object(text: str) -> str:
    """Return JSON text with line breaks, which are between values only, as spaces."""
    return text.replace("\n", " ")


_JSON_VALUES: dict[TextKind, Callable[[str], str]] = {
    TextKind.TEXT: _json_text,
    TextKind.VERSION: _plain,
    TextKind.TIME: _plain,
    TextKind.NUMBER: _verbatim,
    TextKind.FLAG: _verbatim,
    TextKind.TEXTS: _verbatim,
    TextKind.OBJECT: _object,
}
_VALUES = tuple(_JSON_VALUES[column.kind] for column in COLUMNS)
_LINE = "{" + ",".join(f'"{column.name}":%s' for column in COLUMNS) + "}\n"
"""Assembled from texts that are JSON already, in half the time of encoding objects."""
