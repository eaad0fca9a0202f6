"""SQL of rows: the columns of `feedback`, and filters as a WHERE clause with server-side parameters.

The tenant is a condition of every clause, and no value of a client is ever part of the SQL text.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from services.query.reads.core.filters import (
    NONE,
    WORDS,
    Comparison,
    Filters,
    Operator,
    is_unspaced,
    number,
    words,
)
from services.runtime.clickhouse.core.statement import Clause, SqlParameters

COLUMNS = (
    "tenant",
    "request_id",
    "version",
    "first_received_at",
    "last_received_at",
    "sources",
    "rating",
    "vote",
    "sentiment",
    "comment",
    "helpful",
    "user_id",
    "tags",
    "model",
    "provider",
    "latency_ms",
    "cost_usd",
    "started_at",
    "data",
    "request",
    "stored_at",
)
"""The columns of the view `feedback`, in its order."""

SELECTED = ", ".join(COLUMNS)


def item(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `feedback` as JSON for clients: `data` and `request` parsed, `version` as text.

    The tenant is omitted: the key decides it.
    """
    opened = {"data": orjson.loads(row["data"]), "request": orjson.loads(row["request"])}
    shown = {name: row[name] for name in COLUMNS if name != "tenant"}
    return shown | opened | {"version": str(row["version"])}


def one(tenant: str, request_id: str) -> Clause:
    """Return the WHERE clause of one request."""
    return Clause(
        "tenant = {tenant:String} AND request_id = {request_id:String}",
        {"tenant": tenant, "request_id": request_id},
    )


_WHOLE = "('Int64', 'UInt64')"
_SIGNS = {Operator.LT: "<", Operator.LE: "<=", Operator.GT: ">", Operator.GE: ">="}
_FIELDS = {"vote": "vote", "sentiment": "sentiment", "model": "model", "provider": "provider"}


def where(tenant: str, filters: Filters, places: SqlParameters | None = None) -> Clause:
    """Return the WHERE clause over the columns of `feedback_state`; `tenant` always comes first.

    `places` are the parameters of the statement, if other parts of it have some, too.
    """
    places = places or SqlParameters()
    parts = [f"tenant = {places.tenant(tenant)}", *_conditions(filters, places)]
    return Clause(" AND ".join(parts), places.parameters)


def moment(value: datetime) -> str:
    """Format a time for a parameter of type DateTime64(6): UTC, microseconds."""
    return value.strftime("%Y-%m-%d %H:%M:%S.%f")


def _conditions(filters: Filters, places: SqlParameters) -> Iterator[str]:
    if filters.request_id:
        yield f"request_id = {places.place(filters.request_id, 'String')}"
    for name, column in _FIELDS.items():
        if values := getattr(filters, name):
            wanted = ["" if value == NONE and name in ("vote", "sentiment") else value for value in values]
            yield f"{column} IN {places.place(wanted, 'Array(String)')}"
    yield from _ratings(filters, places)
    if filters.tag:
        yield f"hasAll(tags, {places.place(list(filters.tag), 'Array(String)')})"
    if filters.source:
        yield f"hasAny(sources, {places.place(list(filters.source), 'Array(String)')})"
    yield from _users(filters, places)
    yield from _switches(filters)
    yield from _searched(filters, places)
    yield from _times(filters, places)
    for comparison in filters.comparisons:
        yield _compared(comparison, places)


def _ratings(filters: Filters, places: SqlParameters) -> Iterator[str]:
    if filters.rating:
        values = _both_zeros([float(text) for text in filters.rating if text not in WORDS])
        votes = [text for text in filters.rating if text in WORDS]
        yield (
            f"(vote IN {places.place(votes, 'Array(String)')} "
            f"OR ifNull(rating IN {places.place(values, 'Array(Float64)')}, 0))"
        )
    if filters.rating_min is not None:
        yield f"ifNull(rating >= {places.place(filters.rating_min, 'Float64')}, 0)"
    if filters.rating_max is not None:
        yield f"ifNull(rating <= {places.place(filters.rating_max, 'Float64')}, 0)"


def _both_zeros(values: list[float]) -> list[float]:
    """Return the numbers, and 0 and -0 if one of them is: IN distinguishes them."""
    return [*values, 0.0, -0.0] if 0 in values else values


def _users(filters: Filters, places: SqlParameters) -> Iterator[str]:
    if filters.user_id:
        yield f"user_id = {places.place(filters.user_id, 'String')}"
    if filters.session_id:
        given, known = (f"JSONExtract({part}, 'session_id', 'String')" for part in ("data", "request"))
        place = places.place(filters.session_id, "String")
        yield f"if({given} != '', {given}, {known}) = {place}"


def _searched(filters: Filters, places: SqlParameters) -> Iterator[str]:
    for word in words(filters.q):
        place = places.place(word, "String")
        if is_unspaced(word):
            yield f"position(lowerUTF8(comment), lowerUTF8({place})) > 0"
        else:
            yield f"hasToken(lowerUTF8(comment), lowerUTF8({place}))"


def _switches(filters: Filters) -> Iterator[str]:
    for wanted, condition in (
        (filters.has_comment, "has_comment"),
        (filters.has_feedback, "has_feedback"),
        (filters.orphan, "orphan"),
    ):
        if wanted is not None:
            yield condition if wanted else f"NOT {condition}"


def _times(filters: Filters, places: SqlParameters) -> Iterator[str]:
    for value, column, sign in (
        (filters.last_from, "last_received_at", ">="),
        (filters.last_to, "last_received_at", "<"),
        (filters.first_from, "first_received_at", ">="),
        (filters.first_to, "first_received_at", "<"),
    ):
        if value is not None:
            place = places.place(moment(value), "DateTime64(6, 'UTC')")
            yield f"{column} {sign} {place}"


def _compared(comparison: Comparison, places: SqlParameters) -> str:
    place = f"{comparison.part}, {places.place(comparison.key, 'String')}"
    match comparison.operator:
        case Operator.EXISTS:
            return f"JSONType({place}) {'!=' if comparison.text == 'true' else '='} 'Null'"
        case Operator.EQ:
            return _equal(comparison.text, place, places)
        case Operator.NE:
            return f"(JSONType({place}) != 'Null' AND NOT {_equal(comparison.text, place, places)})"
        case operator:
            return _ordered(comparison.text, place, _SIGNS[operator], places)


def _equal(text: str, place: str, places: SqlParameters) -> str:
    options = [_text_is(place, "=", text, places)]
    value = number(text)
    if value is not None:
        options.append(_number_is(place, "=", value, places))
    if text in ("true", "false"):
        options.append(f"(JSONType({place}) = 'Bool' AND JSONExtractBool({place}) = {text})")
    return f"({' OR '.join(options)})"


def _ordered(text: str, place: str, sign: str, places: SqlParameters) -> str:
    value = number(text)
    if value is None:
        return _text_is(place, sign, text, places)
    return _number_is(place, sign, value, places)


def _text_is(place: str, sign: str, text: str, places: SqlParameters) -> str:
    compared = f"JSONExtractString({place}) {sign} {places.place(text, 'String')}"
    return f"(JSONType({place}) = 'String' AND {compared})"


def _number_is(place: str, sign: str, value: float, places: SqlParameters) -> str:
    """Compare exactly: an integer that a Float64 cannot represent is not rounded."""
    bound = places.place(value, "Int128" if isinstance(value, int) else "Float64")
    return (
        f"(JSONType({place}) IN {_WHOLE} AND JSONExtract({place}, 'Int128') {sign} {bound} "
        f"OR JSONType({place}) = 'Double' AND JSONExtractFloat({place}) {sign} {bound})"
    )
