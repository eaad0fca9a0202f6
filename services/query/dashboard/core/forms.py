"""The filter bar and the columns of the log: what is filtered and sorted, and the links that change it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from services.query.dashboard.core.formatting import VOTES, shortened, with_filters
from services.query.reads.core.filters import Filters, to_parameters
from services.query.reads.core.listing import DEFAULT_ORDER, RowOrder

Parameters = list[tuple[str, str]]

FIELDS = ("where_part", "where_key", "where_is", "where_value")
"""The fields in which a form sends a comparison of any key."""

SIGNS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥", "exists": "exists"}

LABELS = {
    "request_id": "Request",
    "vote": "Vote",
    "sentiment": "Sentiment",
    "rating": "Rating",
    "rating_min": "Rating from",
    "rating_max": "Rating to",
    "tag": "Tag",
    "model": "Model",
    "provider": "Provider",
    "source": "Source",
    "user_id": "User",
    "session_id": "Session",
    "has_comment": "Comment",
    "has_feedback": "Feedback",
    "orphan": "Request data",
    "q": "Words",
    "from": "From",
    "to": "Before",
    "first_from": "First from",
    "first_to": "First before",
}

_SWITCHES = {
    ("has_comment", "true"): "with a comment",
    ("has_comment", "false"): "without a comment",
    ("has_feedback", "true"): "with feedback",
    ("has_feedback", "false"): "without feedback",
    ("orphan", "true"): "without request data",
    ("orphan", "false"): "with request data",
}

_QUICK = (
    ("👍", "Positive", ("sentiment", "positive")),
    ("👎", "Negative", ("sentiment", "negative")),
    ("❤️", "Amazing", ("vote", "amazing")),
    ("🗨️", "With a comment", ("has_comment", "true")),
    ("", "Without feedback", ("has_feedback", "false")),
    ("", "Without request data", ("orphan", "true")),
)

_ONE_AT_A_TIME = ("vote", "sentiment")
_REPEATED = ("tag", "model", "provider", "source")


class FilteredPage(Protocol):
    """A page with filters, and own parameters that are kept when these change."""

    @property
    def filters(self) -> Filters: ...  # noqa: D102
    @property
    def kept(self) -> Parameters: ...  # noqa: D102


@dataclass(frozen=True)
class FilterChip:
    """An active filter, and the address without it."""

    label: str
    href: str


@dataclass(frozen=True)
class QuickFilter:
    """A filter of one click; `href` toggles it."""

    sign: str
    label: str
    href: str
    is_on: bool


@dataclass(frozen=True)
class FilterBar:
    """The values of the macro `filter_bar`."""

    path: str
    filters: Filters
    chips: tuple[FilterChip, ...]
    quick: tuple[QuickFilter, ...]
    carried: tuple[tuple[str, str], ...]
    """Hidden fields of the form."""
    clear: str
    """The address without filters."""
    suggestions: dict[str, tuple[str, ...]]


def bar(path: str, asked: FilteredPage, suggestions: Mapping[str, Iterable[str]] | None = None) -> FilterBar:
    """Return the filter bar of a page.  `suggestions` are values to offer, by parameter."""
    active, kept = to_parameters(asked.filters), list(asked.kept)
    carried = [one for one in active if _is_carried(one[0], asked.filters)]
    return FilterBar(
        path,
        asked.filters,
        tuple(FilterChip(label(*one), _link(path, [*_without(active, one), *kept])) for one in active),
        tuple(_quick(path, sign, name, one, active, kept) for sign, name, one in _QUICK),
        (*carried, *kept),
        _link(path, kept),
        {name: tuple(dict.fromkeys(filter(None, values))) for name, values in (suggestions or {}).items()},
    )


def _is_carried(name: str, filters: Filters) -> bool:
    """Return whether a filter has no field of its own, or more values than its field can show."""
    is_many = name in _ONE_AT_A_TIME and len(getattr(filters, name)) > 1
    return is_many or name in _REPEATED or "." in name


def label(name: str, value: str) -> str:
    """Return a filter in words: `Tag: slow`, `data.judge ≥ 3`."""
    if (name, value) in _SWITCHES:
        return _SWITCHES[name, value]
    if "." in name:
        operator, _, text = value.partition(":")
        if operator == "exists":
            return f"{shortened(name, 60)} {'exists' if text == 'true' else 'does not exist'}"
        return f"{shortened(name, 60)} {SIGNS[operator]} {shortened(text, 60)}"
    if name == "vote" and value in VOTES:
        return f"Vote: {VOTES[value]} {value}"
    return f"{LABELS[name]}: {shortened(value, 60)}"


def canonical(parameters: Sequence[tuple[str, str]]) -> Parameters:
    """Return the parameters of the short address: no empty or repeated ones, comparisons in one parameter."""
    compared = {name: value for name, value in parameters if name in FIELDS}
    found = [parameter for parameter in parameters if parameter[0] not in FIELDS and parameter[1] != ""]
    if key := compared.get("where_key", "").strip():
        part = compared.get("where_part") if compared.get("where_part") in ("data", "request") else "data"
        operator = compared.get("where_is", "eq")
        value = compared.get("where_value", "")
        if operator == "exists" and value != "false":
            value = "true"
        if value:
            found.append((f"{part}.{key}", f"{operator if operator in SIGNS else 'eq'}:{value}"))
    return list(dict.fromkeys(found))


def _link(path: str, parameters: Parameters) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path


def _without(parameters: Parameters, one: tuple[str, str]) -> Parameters:
    return [other for other in parameters if other != one]


def _quick(
    path: str, sign: str, name: str, one: tuple[str, str], active: Parameters, kept: Parameters
) -> QuickFilter:
    is_on = one in active
    rest = _without(active, one) if is_on else [other for other in active if not _excluded(other, one)]
    return QuickFilter(sign, name, _link(path, [*rest, *([] if is_on else [one]), *kept]), is_on)


def _excluded(other: tuple[str, str], one: tuple[str, str]) -> bool:
    """Return whether a filter is removed when another is switched on."""
    return other[0] == one[0] or {other[0], one[0]} <= set(_ONE_AT_A_TIME)


_COLUMNS = (
    ("Last feedback", "last_received_at", "-"),
    ("Vote", "rating", "-"),
    ("Request", "request_id", ""),
    ("Model", "model", ""),
    ("Comment and tags", "", ""),
    ("Latency", "latency_ms", "-"),
    ("Cost", "cost_usd", "-"),
)
"""Title, the column to order by, and the first direction."""

_NUMBERS = ("latency_ms", "cost_usd")


@dataclass(frozen=True)
class ColumnHead:
    """The head of a column."""

    title: str
    href: str
    """The address ordered by it, or in reverse; empty if it is not sortable."""
    sorted: str
    """The value of `aria-sort`: `ascending`, `descending`, or empty."""
    is_number: bool


def columns(filters: Filters, order: RowOrder) -> tuple[ColumnHead, ...]:
    """Return all heads, under these filters and this order."""
    return tuple(_column(title, name, first, filters, order) for title, name, first in _COLUMNS)


def _column(title: str, name: str, first: str, filters: Filters, order: RowOrder) -> ColumnHead:
    if not name:
        return ColumnHead(title, "", "", is_number=False)
    is_here = order.column == name
    wanted = f"{'' if order.descending else '-'}{name}" if is_here else f"{first}{name}"
    href = with_filters("/", filters, order="" if wanted == DEFAULT_ORDER else wanted)
    direction = ("descending" if order.descending else "ascending") if is_here else ""
    return ColumnHead(title, href, direction, is_number=name in _NUMBERS)
