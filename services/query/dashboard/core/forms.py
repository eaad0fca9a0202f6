"""The filter bar: what is filtered now, how each filter is taken away, and what a form sends.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from services.query.dashboard.core.formatting import VOTES, shortened
from services.query.reads.core.filters import Filters, to_parameters

Parameters = list[tuple[str, str]]

FIELDS = ("where_part", "where_key", "where_is", "where_value")
"""How a form, whose fields have fixed names, sends a comparison of any key."""

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
    "orphan": "Request facts",
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
    ("orphan", "true"): "without request facts",
    ("orphan", "false"): "with request facts",
}

_QUICK = (
    ("👍", "Positive", ("sentiment", "positive")),
    ("👎", "Negative", ("sentiment", "negative")),
    ("❤️", "Amazing", ("vote", "amazing")),
    ("🗨️", "With a comment", ("has_comment", "true")),
    ("", "Without feedback", ("has_feedback", "false")),
    ("", "Without request facts", ("orphan", "true")),
)

_ONE_AT_A_TIME = ("vote", "sentiment")
_REPEATED = ("tag", "model", "provider", "source")


class Asked(Protocol):
    """What a page is asked."""

    @property
    def filters(self) -> Filters: ...  # noqa: D102
    @property
    def kept(self) -> Parameters: ...  # noqa: D102


@dataclass(frozen=True)
class Chip:
    """A filter that is on, and where it is off."""

    label: str
    href: str


@dataclass(frozen=True)
class Quick:
    """A filter one click away.  `href` switches it on, or off while it `is_on`."""

    sign: str
    label: str
    href: str
    is_on: bool


@dataclass(frozen=True)
class Bar:
    """Everything that the macro `filter_bar` draws."""

    path: str
    filters: Filters
    chips: tuple[Chip, ...]
    quick: tuple[Quick, ...]
    carried: tuple[tuple[str, str], ...]
    """What the form sends along unchanged."""
    clear: str
    """Where nothing is filtered."""
    suggestions: dict[str, tuple[str, ...]]


def bar(path: str, asked: Asked, suggestions: Mapping[str, Iterable[str]] | None = None) -> Bar:
    """Return the filter bar of a page.  `suggestions` are values to offer, by parameter."""
    active, kept = to_parameters(asked.filters), list(asked.kept)
    carried = [one for one in active if _is_carried(one[0], asked.filters)]
    return Bar(
        path,
        asked.filters,
        tuple(Chip(label(*one), _link(path, [*_without(active, one), *kept])) for one in active),
        tuple(_quick(path, sign, name, one, active, kept) for sign, name, one in _QUICK),
        (*carried, *kept),
        _link(path, kept),
        {name: tuple(dict.fromkeys(filter(None, values))) for name, values in (suggestions or {}).items()},
    )


def _is_carried(name: str, filters: Filters) -> bool:
    """Tell whether a filter has no field of its own, or more values than its field can show."""
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
    """Return the parameters of the one short address: without empty ones, repeats, and the form's own."""
    compared = {name: value for name, value in parameters if name in FIELDS}
    found = [one for one in parameters if one[0] not in FIELDS and one[1] != ""]
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
) -> Quick:
    is_on = one in active
    rest = _without(active, one) if is_on else [other for other in active if not _excluded(other, one)]
    return Quick(sign, name, _link(path, [*rest, *([] if is_on else [one]), *kept]), is_on)


def _excluded(other: tuple[str, str], one: tuple[str, str]) -> bool:
    """Tell whether a filter goes when another is switched on: a positive vote is not a negative one."""
    return other[0] == one[0] or {other[0], one[0]} <= set(_ONE_AT_A_TIME)
