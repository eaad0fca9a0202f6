"""CSV as RFC 4180 has it: a header, CRLF, quotes where they are needed.  Pure.

Lists and objects are JSON text, NULL is an empty cell, and texts are kept from being taken for formulas;
numbers stay what they are, also negative ones.  Written here, for Python's own writer looks at each
character of each cell, which takes three times as long.
"""

import re
from collections.abc import Callable, Sequence

from services.query.exports.core.columns import COLUMNS, NAMES, Kind
from services.query.exports.core.csv_injection import neutral
from services.query.exports.core.encoder import Ending, Options
from services.query.exports.core.lines import Row

_BYTE_ORDER_MARK = "\ufeff"
_END = "\r\n"
_NEEDS_QUOTES = re.compile(r'[,"\r\n]')


class CsvFile:
    """Encodes rows as CSV."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def begin(self) -> bytes:
        """Return the header row."""
        return ((_BYTE_ORDER_MARK if self._options.bom else "") + ",".join(NAMES) + _END).encode()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return the rows as lines; quoted cells may hold line breaks."""
        return "".join([_line(row) for row in rows]).encode()

    def end(self, ending: Ending) -> bytes:
        """Return the trailer, if there is to be one: a row whose first cell is `#` and JSON."""
        cells = [_quoted(f"# {ending.json()}"), *[""] * (len(NAMES) - 1)]
        return (",".join(cells) + _END).encode() if self._options.trailer else b""


def _line(row: Row) -> str:
    return ",".join([cell(text) for cell, text in zip(_CELLS, row, strict=True)]) + _END


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    cell = neutral(text)
    return _quoted(cell) if _NEEDS_QUOTES.search(cell) else cell


def _json(text: str) -> str:
    return _quoted(text) if text else ""


_BY_KIND: dict[Kind, Callable[[str], str]] = {
    Kind.TEXT: _text,
    Kind.VERSION: str,
    Kind.TIME: str,
    Kind.NUMBER: str,
    Kind.FLAG: str,
    Kind.TEXTS: _json,
    Kind.OBJECT: _json,
}
_CELLS = tuple(_BY_KIND[column.kind] for column in COLUMNS)
