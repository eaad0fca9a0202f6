"""What filters mean, said in Python over the documents of rows: the oracle of the query service's filters.

It takes parameters as a reader sends them, and knows nothing of the service's own reading of them.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.support.oracles import typed_columns as typed

Row = Mapping[str, Any]
"""As `state_row` makes it: `data` and `request` are objects."""

_WORD = re.compile("[A-Za-z0-9\u0080-\U0010ffff]+")
_CJK = re.compile("[ก-๿぀-ヿ一-鿿]")


def matches(row: Row, parameters: list[tuple[str, str]]) -> bool:
    """Return whether a row is one of those asked for: one value of each parameter holds, and every tag."""
    names = dict.fromkeys(name for name, _ in parameters)
    return all(_holds(row, name, [value for one, value in parameters if one == name]) for name in names)


def _holds(row: Row, name: str, values: list[str]) -> bool:
    if name.startswith(("data.", "request.")):
        part, _, key = name.partition(".")
        return all(_compared(row[part].get(key), *value.split(":", 1)) for value in values)
    if name == "tag":
        return set(values) <= set(typed.tags(row["data"]))
    if name == "source":
        return bool(set(values) & set(row["sources"]))
    if name == "rating":
        return any(_rated(row["data"], value) for value in values)
    if name in _CHOSEN:
        found = _CHOSEN[name](row)
        return found in [
            ("" if value == "none" and name in ("vote", "sentiment") else value) for value in values
        ]
    return _ONCE[name](row, values[0])


def _rated(data: Row, value: str) -> bool:
    if value in typed.VOTES:
        return typed.vote(data) == value
    rating = typed.rating(data)
    return rating is not None and rating == float(value)


def _compared(value: Any, operator: str, text: str) -> bool:
    if operator == "exists":
        return (value is not None) == (text == "true")
    if value is None:
        return False
    if operator in ("eq", "ne"):
        return _equal(value, text) == (operator == "eq")
    bound = _number(text)
    if bound is not None:
        return _is_number(value) and _ordered(value, operator, bound)
    return isinstance(value, str) and _ordered(value, operator, text)


def _ordered(value: Any, operator: str, bound: Any) -> bool:
    return bool(
        {"lt": value < bound, "le": value <= bound, "gt": value > bound, "ge": value >= bound}[operator]
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(value: Any, text: str) -> bool:
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, str):
        return value == text
    number = _number(text)
    return _is_number(value) and number is not None and bool(value == number)


def _number(text: str) -> int | float | None:
    if re.fullmatch("-?(0|[1-9][0-9]*)", text) and abs(int(text)) < 2**64:
        return int(text)
    return typed.number(text)


def _first(*values: Any) -> str:
    return next((typed.text(value) for value in values if typed.text(value)), "")


def comment(row: Row) -> str:
    """Return what counts as the row's comment."""
    return _first(row["data"].get("comment"), row["data"].get("message"))


def _searched(row: Row, text: str) -> bool:
    said = comment(row).lower()
    there = set(_WORD.findall(said))
    sought = [word.lower() for word in _WORD.findall(text)]
    return all(word in said if _CJK.search(word) else word in there for word in sought)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _switch(found: bool, text: str) -> bool:  # noqa: FBT001
    return found == (text == "true")


_CHOSEN: dict[str, Callable[[Row], str]] = {
    "vote": lambda row: typed.vote(row["data"]),
    "sentiment": lambda row: typed.sentiment(row["data"]),
    "model": lambda row: typed.text(row["request"].get("model")),
    "provider": lambda row: typed.text(row["request"].get("provider")),
}

_ONCE: dict[str, Callable[[Row, str], bool]] = {
    "request_id": lambda row, text: row["request_id"] == text,
    "rating_min": lambda row, text: (
        (rating := typed.rating(row["data"])) is not None and rating >= float(text)
    ),
    "rating_max": lambda row, text: (
        (rating := typed.rating(row["data"])) is not None and rating <= float(text)
    ),
    "user_id": lambda row, text: _first(row["data"].get("user_id"), row["request"].get("user_id")) == text,
    "session_id": lambda row, text: (
        _first(row["data"].get("session_id"), row["request"].get("session_id")) == text
    ),
    "has_comment": lambda row, text: _switch(comment(row) != "", text),
    "has_feedback": lambda row, text: _switch(bool(row["data"]), text),
    "orphan": lambda row, text: _switch(not row["request"], text),
    "q": _searched,
    "from": lambda row, text: _moment(row["last_received_at"]) >= _moment(text),
    "to": lambda row, text: _moment(row["last_received_at"]) < _moment(text),
    "first_from": lambda row, text: _moment(row["first_received_at"]) >= _moment(text),
    "first_to": lambda row, text: _moment(row["first_received_at"]) < _moment(text),
}
