"""Rows of CSV: the header, cells as JSON values, and the mapping of columns to fields of events."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from io import StringIO
from typing import Any, NamedTuple

import orjson

from services.ingest.core.errors import BodyFault, Code, Rejection, invalid
from services.ingest.dialects.dialect import Submission, checked_at, required, submission
from services.operations.send.core.split import CsvSplitter, FilePosition, not_utf8

DELIMITERS = ",;\t"

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_EXACT_DIGITS = 18
"""An integer of more digits may not fit 64 bits, and is an id more often than a number: it stays text."""

_BOOLEANS = {"true": True, "false": False}


class CsvHeader(NamedTuple):
    """The names of the columns; `text` is the header itself."""

    text: bytes
    names: tuple[str, ...]
    delimiter: str

    def row(self, text: bytes) -> dict[str, str]:
        """Return the cells of a row that are not empty, by the names of their columns; raise Rejection."""
        cells = _cells(text, self.delimiter)
        if any(cells[len(self.names) :]):
            detail = f"has {len(cells)} cells, and the header has {len(self.names)}; is a quote missing?"
            raise invalid(BodyFault("the row", detail))
        return {name: cell for name, cell in zip(self.names, cells, strict=False) if name and cell}


def header_of(head: bytes) -> CsvHeader:
    """Return the header of the file that begins with `head`; ValueError if it has none."""
    first = next(CsvSplitter(FilePosition()).feed(head + b"\n"), None)
    if first is None:
        raise ValueError("the file has no header")
    delimiter = max(DELIMITERS, key=lambda mark: first.text.count(mark.encode()))
    try:
        names = tuple(name.strip() for name in _cells(first.text, delimiter))
    except Rejection as rejection:
        raise ValueError(f"line {first.line}: {rejection.detail}") from None
    if repeated := sorted({name for name in names if name and names.count(name) > 1}):
        raise ValueError(f"line {first.line}: the header has several columns {', '.join(repeated)}")
    return CsvHeader(first.text, names, delimiter)


def _cells(text: bytes, delimiter: str) -> list[str]:
    if wrong := not_utf8(text):
        raise Rejection(Code.INVALID_FEEDBACK, wrong)
    try:
        cells, *more = csv.reader(StringIO(text.decode(), newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise invalid(BodyFault("the row", f"is not CSV: {error}")) from None
    if more:
        raise invalid(BodyFault("the row", "has a quote inside of a cell without quotes"))
    return cells


def inferred(text: str) -> Any:
    """Return the JSON value that a cell shows: a number, a boolean, an object or an array, else its text."""
    if _NUMBER.fullmatch(text):
        return _number(text)
    if text[0] in "{[":
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return _BOOLEANS.get(text.lower(), text)


def _number(text: str) -> Any:
    if text.lstrip("-").isdigit() and len(text.lstrip("-")) > _EXACT_DIGITS:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # larger than the largest number
        return text


def _as_number(text: str) -> Any:
    text = text.strip()
    if not _NUMBER.fullmatch(text) or isinstance(value := _number(text), str):
        raise ValueError
    return value


def _as_boolean(text: str) -> Any:
    return {**_BOOLEANS, "1": True, "0": False, "yes": True, "no": False}[text.strip().lower()]


TYPES: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "number": _as_number,
    "boolean": _as_boolean,
    "json": orjson.loads,
}
"""Types that a mapping can name; KeyError or ValueError for a cell of another one."""


class CsvField(NamedTuple):
    """A field of an event, and how a cell becomes its value.  `kind` None: inferred."""

    path: str
    kind: str | None

    def value(self, column: str, cell: str) -> Any:
        """Return the value of a cell; raise Rejection."""
        if self.kind is None:
            return inferred(cell)
        try:
            return TYPES[self.kind](cell)
        except (KeyError, ValueError):
            detail = f"has {cell[:40]!r}, which is not a {self.kind}"
            raise invalid(BodyFault(f"column {column}", detail)) from None


def _field(path: str) -> CsvField | None:
    """Return the field of a path such as `data.rating` or `data.rating:number`, None if it is none.

    Ids, times and comments are text, whatever they look like.
    """
    if path in ("request_id", "item_id", "at"):
        return CsvField(path, "text")
    path, _, kind = path.rpartition(":") if path.rpartition(":")[2] in TYPES else (path, "", "")
    group, _, key = path.partition(".")
    if group not in ("data", "request") or not key:
        return None
    is_text = key.endswith("_id") or key == "comment"
    return CsvField(path, kind or ("text" if is_text else None))


def mapping(maps: Iterable[str], header: CsvHeader) -> dict[str, list[CsvField]]:
    """Return the fields of each column; ValueError for a mapping that does not fit the header.

    `maps` are texts FIELD=COLUMN.  A column with the name of a field needs none.
    """
    columns = {field.path: (field, name) for name in header.names if (field := _field(name))}
    for text in maps:
        path, equals, column = text.partition("=")
        field = _field(path)
        if field is None or not equals:
            raise ValueError(
                f"--map {text}: it takes FIELD=COLUMN, where FIELD is request_id, item_id, at, data.KEY or "
                f"request.KEY, the last two also with a type ({', '.join(TYPES)}), such as data.KEY:number"
            )
        if column not in header.names:
            shown = ", ".join(header.names)
            raise ValueError(f"--map {text}: there is no column {column}; the columns are {shown}")
        columns[field.path] = (field, column)
    if "request_id" not in columns:
        raise ValueError(
            f"no column is the request id: --map request_id=COLUMN; the columns are {', '.join(header.names)}"
        )
    if not any("." in path for path in columns):
        raise ValueError("no column has feedback or facts: --map data.KEY=COLUMN, or request.KEY=COLUMN")
    fields: dict[str, list[CsvField]] = {}
    for field, column in columns.values():
        fields.setdefault(column, []).append(field)
    return fields


def mapped(row: Mapping[str, str], fields: Mapping[str, list[CsvField]]) -> Submission:
    """Return the submission of a row; raise Rejection."""
    values: dict[str, Any] = {
        field.path: field.value(column, cell)
        for column, cell in row.items()
        for field in fields.get(column, ())
    }
    groups: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        group, dot, key = path.partition(".")
        if dot:
            groups.setdefault(group, {})[key] = value
    if not groups:
        raise invalid(BodyFault("the row", "has neither feedback nor facts"))
    return submission(
        required(values, "request_id", str),
        groups.get("data"),
        groups.get("request"),
        item_id=values.get("item_id", ""),
        at=checked_at(values.get("at")) or None,
    )
