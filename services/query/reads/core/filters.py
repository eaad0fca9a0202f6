"""Filters of rows: the same parameters for lists, exports, statistics and pages."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from math import isfinite
from typing import Any

from schemas.instants import FORMS, bound
from schemas.limits import MAX_INTEGER, MAX_KEY_LENGTH, MIN_INTEGER
from services.query.core.problems import ParamFault, invalid

NONE = "none"
"""The value of a parameter for rows without a vote or sentiment."""

BLANK = "has no value: give one, or leave the parameter out"
"""The fault of an empty parameter, which is most often an unset variable."""

WORDS = ("amazing", "positive", "negative")
VOTES = (*WORDS, NONE)
SENTIMENTS = ("positive", "neutral", "negative", NONE)

MAX_VALUES = 50
"""Values of one parameter, and comparisons, at most."""

MAX_TEXT = 1024


class Operator(StrEnum):
    """A comparison operator."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    EXISTS = "exists"


@dataclass(frozen=True)
class Comparison:
    """A condition on the value of a key of `data` or `request`.

    An absent or null value does not exist, and matches `exists:false` only.  `eq` matches the same text, a
    number of exactly the same value, and true and false by name; `ne` every other value that exists.  `lt`,
    `le`, `gt` and `ge` compare numbers if `text` is one, else texts by code point; a value of another type
    does not match.
    """

    part: str
    """`data` or `request`."""
    key: str
    operator: Operator
    text: str


@dataclass(frozen=True)
class Filters:
    """Filters that all have to match; of several values of one parameter, any (of tags: all)."""

    request_id: str = ""
    vote: tuple[str, ...] = ()
    sentiment: tuple[str, ...] = ()
    rating: tuple[str, ...] = ()
    """Numbers, which also match words, and words: `5` matches 5 and amazing, `amazing` matches that only."""
    rating_min: float | None = None
    rating_max: float | None = None
    tag: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    user_id: str = ""
    session_id: str = ""
    has_comment: bool | None = None
    has_feedback: bool | None = None
    orphan: bool | None = None
    q: str = ""
    """Words that the comment has to contain, in any case; see `words`."""
    last_from: datetime | None = None
    """`from`: last_received_at at or after."""
    last_to: datetime | None = None
    """`to`: last_received_at before."""
    first_from: datetime | None = None
    first_to: datetime | None = None
    comparisons: tuple[Comparison, ...] = ()

    def __bool__(self) -> bool:
        """Return whether any filter is set."""
        return self != NO_FILTERS


NO_FILTERS = Filters()

_RENAMED = {"last_from": "from", "last_to": "to"}
_ORIGINAL = {name: field for field, name in _RENAMED.items()}

PARAMETERS = tuple(
    _RENAMED.get(field.name, field.name) for field in fields(Filters) if field.name != "comparisons"
)
"""The names of all parameters except `data.<key>` and `request.<key>`."""

_LISTS = ("vote", "sentiment", "rating", "tag", "model", "provider", "source")
_NUMBERS = ("rating_min", "rating_max")
_SWITCHES = ("has_comment", "has_feedback", "orphan")
_TIMES = ("last_from", "last_to", "first_from", "first_to")
_CHOICES = {"vote": VOTES, "sentiment": SENTIMENTS}

_COMPARED = re.compile(r"(data|request)\.(.+)", re.DOTALL)
_MISTAKEN = {"neq": "ne", "not": "ne", "gte": "ge", "lte": "le"}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    "|[\U00020000-\U0003ffff]"
)


def is_filter(name: str) -> bool:
    """Return whether a parameter is a filter."""
    return name in PARAMETERS or _COMPARED.fullmatch(name) is not None


def parse_filters(parameters: Iterable[tuple[str, str]]) -> Filters:
    """Return the filters in the parameters; raise QueryProblem with every fault.

    An empty value is a fault: ignoring it would return more rows than intended.  Parameters that are not
    filters are ignored here.
    """
    found: dict[str, list[str]] = {}
    comparisons: list[Comparison] = []
    faults: list[ParamFault] = []
    for name, value in parameters:
        if value == "" and is_filter(name):
            faults.append(ParamFault(name[:80], BLANK))
        elif compared := _COMPARED.fullmatch(name):
            comparisons += _comparison(name, compared[1], compared[2], value, faults)
        elif name in PARAMETERS:
            found.setdefault(_ORIGINAL.get(name, name), []).append(value)
    values: dict[str, Any] = {field: _value(field, texts, faults) for field, texts in found.items()}
    if len(comparisons) > MAX_VALUES:
        faults.append(ParamFault("data", f"at most {MAX_VALUES} comparisons"))
    if faults:
        raise invalid(*faults)
    return Filters(**values, comparisons=tuple(comparisons))


def to_parameters(filters: Filters) -> list[tuple[str, str]]:
    """Return the parameters of these filters: the inverse of `parse_filters`."""
    parameters = []
    for field in fields(Filters):
        value = getattr(filters, field.name)
        if field.name == "comparisons" or value in ("", None, ()):
            continue
        name = _RENAMED.get(field.name, field.name)
        texts = value if isinstance(value, tuple) else (value,)
        parameters += [(name, _text(text)) for text in texts]
    parameters += [
        (f"{comparison.part}.{comparison.key}", f"{comparison.operator}:{comparison.text}")
        for comparison in filters.comparisons
    ]
    return parameters


def number(text: str) -> int | float | None:
    """Return the finite JSON number in a text, or None; an int if a row can hold it."""
    if not _NUMBER.fullmatch(text):
        return None
    if len(text) <= 20 and text.lstrip("-").isdigit() and MIN_INTEGER <= int(text) <= MAX_INTEGER:
        return int(text)
    value = float(text)
    return value if isfinite(value) else None


def words(text: str) -> list[str]:
    """Return the distinct words of a search, split as the index of comments splits them; case is kept.

    Words are separated by ASCII characters other than letters and digits; every character beyond ASCII is
    part of a word.
    """
    return list(dict.fromkeys(_WORD.findall(text)))


def is_unspaced(word: str) -> bool:
    """Return whether a word is of a script without spaces between words (Chinese, Japanese, Thai).

    The index contains whole runs of these, so such a word is searched as a substring.
    """
    return _UNSPACED.search(word) is not None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def _comparison(name: str, part: str, key: str, value: str, faults: list[ParamFault]) -> Sequence[Comparison]:
    before, colon, after = value.partition(":")
    operator, text = (Operator(before), after) if colon and before in list(Operator) else (Operator.EQ, value)
    if len(key) > MAX_KEY_LENGTH or len(text) > MAX_TEXT:
        faults.append(
            ParamFault(name[:80], f"at most {MAX_KEY_LENGTH} characters of key and {MAX_TEXT} of value")
        )
        return ()
    if colon and before in _MISTAKEN:
        detail = f"write `{_MISTAKEN[before]}:`, or `eq:{before}:` for a text with that prefix"
        faults.append(ParamFault(name, detail))
    if operator is Operator.EXISTS and text not in ("true", "false"):
        faults.append(ParamFault(name, "exists takes true or false: `exists:true`"))
    return (Comparison(part, key, operator, text),)


def _value(field: str, texts: list[str], faults: list[ParamFault]) -> object:
    name = _RENAMED.get(field, field)
    if any(len(text) > MAX_TEXT for text in texts) or len(texts) > MAX_VALUES:
        faults.append(ParamFault(name, f"at most {MAX_VALUES} values of {MAX_TEXT} characters each"))
        return None
    if field in _LISTS:
        return _list(field, texts, faults)
    if len(texts) > 1:
        faults.append(ParamFault(name, "give it once"))
        return None
    return _READERS.get(field, _as_is)(name, texts[0], faults)


def _list(field: str, texts: list[str], faults: list[ParamFault]) -> tuple[str, ...]:
    choices = _CHOICES.get(field)
    if choices and (unknown := [text for text in texts if text not in choices]):
        faults.append(ParamFault(field, f"{unknown[0][:40]!r} is none of {', '.join(choices)}"))
    if field == "rating" and (
        wrong := [text for text in texts if text not in WORDS and number(text) is None]
    ):
        faults.append(
            ParamFault(field, f"{wrong[0][:40]!r} is neither a number nor one of {', '.join(WORDS)}")
        )
    return tuple(dict.fromkeys(texts))


def _number(name: str, text: str, faults: list[ParamFault]) -> float | None:
    value = number(text)
    if value is None:
        faults.append(ParamFault(name, f"{text[:40]!r} is not a number"))
    return None if value is None else float(value)


def _switch(name: str, text: str, faults: list[ParamFault]) -> bool | None:
    if text not in ("true", "false"):
        faults.append(ParamFault(name, "true or false"))
        return None
    return text == "true"


def _time(name: str, text: str, faults: list[ParamFault]) -> datetime | None:
    """Parse a time, or a day, which means its beginning; UTC if it has no zone."""
    # A `+` that was not percent-encoded is decoded as a space.
    found = bound(text) or bound(text[:11] + text[11:].replace(" ", "+"))
    if found is None:
        faults.append(ParamFault(name, f"{text[:40]!r} is no time that can be read: {FORMS}"))
    return found


def _search(name: str, text: str, faults: list[ParamFault]) -> str:
    if not words(text):
        faults.append(ParamFault(name, "has no word: letters or digits"))
    return text


def _as_is(_name: str, text: str, _faults: list[ParamFault]) -> str:
    return text


_READERS: dict[str, Callable[[str, str, list[ParamFault]], object]] = {
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_SWITCHES, _switch),
    **dict.fromkeys(_TIMES, _time),
    "q": _search,
}
