"""Whether an example gave what its page says.  `…` on a page stands for what differs from run to run."""

import json
import re
from collections.abc import Iterable
from typing import Any

from tests.support.docs.pages import Block, Rows

ANYTHING = "…"


def fits(expected: str, actual: str) -> bool:
    """Return whether a text is the expected one; `…` stands for any text within a line.

    A line that is nothing but `…` stands for any number of lines.
    """
    pattern = "".join(map(_pattern, expected.strip().split("\n")))
    return re.fullmatch(pattern, actual.strip() + "\n") is not None


def _pattern(line: str) -> str:
    return r"(?:.*\n)*?" if line.strip() == ANYTHING else _line(line.rstrip()) + r"[ \t]*\n"


def _line(line: str) -> str:
    return re.escape(line).replace(re.escape(ANYTHING), ".*")


def fits_json(expected: Any, actual: Any) -> bool:
    """Return whether a document is the expected one; a key `…` allows for further keys."""
    if expected == ANYTHING:
        return True
    if isinstance(expected, str) and isinstance(actual, str):
        return fits(expected, actual)
    if isinstance(expected, dict) and isinstance(actual, dict):
        named = expected.keys() - {ANYTHING}
        if named != actual.keys() and not (ANYTHING in expected and named < actual.keys()):
            return False
        return all(fits_json(expected[key], actual[key]) for key in named)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(fits_json, expected, actual))
    return type(expected) is type(actual) and bool(expected == actual)


def complaint_about_output(expected: Block, actual: str) -> str | None:
    """Return what is wrong with what an example printed, None if nothing is."""
    if expected.language == "json":
        return _complaint_about_json(expected.text, actual)
    return None if fits(expected.text, actual) else _told_apart(expected.text, actual)


def _complaint_about_json(expected: str, actual: str) -> str | None:
    try:
        document = json.loads(actual)
    except ValueError:
        return f"it printed no JSON:\n{actual}"
    return None if fits_json(json.loads(expected), document) else _told_apart(expected, actual)


def complaint_about_rows(expected: Rows, actual: Rows) -> str | None:
    """Return what is wrong with the result of a statement, None if nothing is."""
    right = expected.header == actual.header and len(expected.rows) == len(actual.rows)
    if right and all(map(_row_fits, expected.rows, actual.rows)):
        return None
    return _told_apart(_table(expected), _table(actual))


def _row_fits(expected: list[str], actual: list[str]) -> bool:
    return len(expected) == len(actual) and all(map(fits, expected, actual))


def _table(rows: Rows) -> str:
    return "\n".join(map(_table_line, [rows.header, ["---"] * len(rows.header), *rows.rows]))


def _table_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _told_apart(expected: str, actual: str) -> str:
    return f"the page says\n{expected.rstrip()}\nbut it gave\n{actual.rstrip()}"
