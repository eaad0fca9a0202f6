"""From filters to a WHERE clause whose values travel as server-side parameters.  Pure.

The tenant is a condition of every clause, and no caller's value is ever part of the SQL text.
"""

from collections.abc import Iterator
from datetime import datetime

from services.query.filters import NONE, Comparison, Filters, Operator, number, words
from services.query.statements import Clause, Places

_NUMERIC = "('Int64', 'UInt64', 'Double')"
_SIGNS = {Operator.LT: "<", Operator.LE: "<=", Operator.GT: ">", Operator.GE: ">="}
_FIELDS = {"vote": "vote", "sentiment": "sentiment", "model": "model", "provider": "provider"}


def where(tenant: str, filters: Filters, places: Places | None = None) -> Clause:
    """Return what follows WHERE over the columns of `feedback_state`; `tenant` always comes first.

    `places` is the statement's, where the clause is not its only part with values.
    """
    places = places or Places()
    parts = [f"tenant = {places.place(tenant, 'String')}", *_conditions(filters, places)]
    return Clause(" AND ".join(parts), places.parameters)


def moment(value: datetime) -> str:
    """Return a time as ClickHouse's DateTime64(6) parameters take it: UTC, microseconds."""
    return value.strftime("%Y-%m-%d %H:%M:%S.%f")


def _conditions(filters: Filters, places: Places) -> Iterator[str]:
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
    yield from _people(filters, places)
    yield from _switches(filters)
    for word in words(filters.q):
        yield f"hasToken(lowerUTF8(comment), {places.place(word, 'String')})"
    yield from _times(filters, places)
    for comparison in filters.comparisons:
        yield _compared(comparison, places)


def _ratings(filters: Filters, places: Places) -> Iterator[str]:
    if filters.rating_min is not None:
        yield f"ifNull(rating >= {places.place(filters.rating_min, 'Float64')}, 0)"
    if filters.rating_max is not None:
        yield f"ifNull(rating <= {places.place(filters.rating_max, 'Float64')}, 0)"


def _people(filters: Filters, places: Places) -> Iterator[str]:
    if filters.user_id:
        yield f"user_id = {places.place(filters.user_id, 'String')}"
    if filters.session_id:
        place = places.place(filters.session_id, "String")
        yield (
            "if(JSONExtractString(data, 'session_id') != '', JSONExtractString(data, 'session_id'), "
            f"JSONExtractString(request, 'session_id')) = {place}"
        )


def _switches(filters: Filters) -> Iterator[str]:
    for wanted, condition in (
        (filters.has_comment, "comment != ''"),
        (filters.has_feedback, "data != '{}'"),
        (filters.orphan, "request = '{}'"),
    ):
        if wanted is not None:
            yield condition if wanted else f"NOT ({condition})"


def _times(filters: Filters, places: Places) -> Iterator[str]:
    for value, column, sign in (
        (filters.last_from, "last_received_at", ">="),
        (filters.last_to, "last_received_at", "<"),
        (filters.first_from, "first_received_at", ">="),
        (filters.first_to, "first_received_at", "<"),
    ):
        if value is not None:
            place = places.place(moment(value), "DateTime64(6, 'UTC')")
            yield f"{column} {sign} {place}"


def _compared(comparison: Comparison, places: Places) -> str:
    place = f"{comparison.part}, {places.place(comparison.key, 'String')}"
    match comparison.operator:
        case Operator.EXISTS:
            exists = f"(JSONHas({place}) AND JSONType({place}) != 'Null')"
            return exists if comparison.text == "true" else f"NOT {exists}"
        case Operator.EQ:
            return _equal(comparison.text, place, places)
        case Operator.NE:
            equal = _equal(comparison.text, place, places)
            return f"(JSONHas({place}) AND JSONType({place}) != 'Null' AND NOT {equal})"
        case operator:
            return _ordered(comparison.text, place, _SIGNS[operator], places)


def _equal(text: str, place: str, places: Places) -> str:
    options = [
        f"(JSONType({place}) = 'String' AND JSONExtractString({place}) = {places.place(text, 'String')})"
    ]
    value = number(text)
    if value is not None:
        same = f"JSONExtractFloat({place}) = {places.place(value, 'Float64')}"
        options.append(f"(JSONType({place}) IN {_NUMERIC} AND {same})")
    if text in ("true", "false"):
        options.append(f"(JSONType({place}) = 'Bool' AND JSONExtractBool({place}) = {text})")
    return f"({' OR '.join(options)})"


def _ordered(text: str, place: str, sign: str, places: Places) -> str:
    value = number(text)
    if value is not None:
        compared = f"JSONExtractFloat({place}) {sign} {places.place(value, 'Float64')}"
        return f"(JSONType({place}) IN {_NUMERIC} AND {compared})"
    compared = f"JSONExtractString({place}) {sign} {places.place(text, 'String')}"
    return f"(JSONType({place}) = 'String' AND {compared})"
