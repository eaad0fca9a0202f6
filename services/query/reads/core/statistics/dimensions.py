"""What statistics are grouped by, and what is averaged: the names that people give, and their SQL.  Pure."""

import re
from difflib import get_close_matches
from typing import NamedTuple

from schemas.limits import MAX_KEY_LENGTH
from services.query.core.problems import Fault, invalid
from services.query.reads.core.statistics.periods import UNITS
from services.runtime.clickhouse.core.statement import SqlParameters

MAX_DIMENSIONS = 2

_KEY = re.compile(r"(data|request)\.(.+)", re.DOTALL)

COLUMNS = {
    "model": "model",
    "provider": "provider",
    "vote": "vote",
    "sentiment": "sentiment",
    "rating": "ifNull(toString(rating), '')",
    "user_id": "user_id",
}
"""What a row has one of, or none; as text, empty for none."""

LISTS = {"tag": "tags", "source": "sources"}
"""What a row may have several of."""

ALIASES = {"dataset": "request.dataset", "request.model": "model", "request.provider": "provider"}
"""Other names: a key that has a column is read from there, which is much quicker."""

NAMES = (*UNITS, *COLUMNS, *LISTS, "dataset")

NUMBERS = {
    "rating": "rating",
    "latency_ms": "latency_ms",
    "request.latency_ms": "latency_ms",
    "cost_usd": "cost_usd",
    "request.cost_usd": "cost_usd",
}
"""Measures that have a column.  `data.rating` has none here: it is the key as it was sent, word or number."""

DEFAULT_MEASURE = "rating"

_NUMERIC = "('Int64', 'UInt64', 'Double', 'Bool')"


class Dimension(NamedTuple):
    """One thing to group by.  `name` is as it was asked for."""

    name: str

    @property
    def target(self) -> str:
        """The name behind an alias."""
        return ALIASES.get(self.name, self.name)

    @property
    def is_time(self) -> bool:
        """Groups are stretches of time."""
        return self.target in UNITS

    @property
    def is_list(self) -> bool:
        """A row may belong to several groups."""
        return self.target in LISTS

    def sql(self, places: SqlParameters) -> str:
        """Return the expression of a row's group, a text; of its groups for a list; empty means none."""
        if self.target in COLUMNS:
            return COLUMNS[self.target]
        if self.target in LISTS:
            return LISTS[self.target]
        part, key = _parted(self.target)
        return f"JSONExtract({part}, {places.place(key, 'String')}, 'String')"


class Measure(NamedTuple):
    """A number to average.  `name` is as it was asked for."""

    name: str

    @property
    def is_column(self) -> bool:
        """The table has it ready: `value` is a column, and values of other types are not told from none."""
        return self.name in NUMBERS

    def value(self, places: SqlParameters) -> str:
        """Return the expression of a row's number, or NULL."""
        if self.is_column:
            return NUMBERS[self.name]
        part, key = _parted(self.name)
        place = f"{part}, {places.place(key, 'String')}"
        return f"if(JSONType({place}) IN {_NUMERIC}, JSONExtract({place}, 'Nullable(Float64)'), NULL)"

    def is_other(self, places: SqlParameters) -> str:
        """Return the condition of rows whose value is no number, though there is one."""
        if self.is_column:
            return "0"
        part, key = _parted(self.name)
        return f"JSONType({part}, {places.place(key, 'String')}) NOT IN ('Null', {_NUMERIC[1:]}"


def parse_dimensions(names: list[str]) -> tuple[Dimension, ...]:
    """Return what to group by; raise Problem for names that there are not, and for too many."""
    found = tuple(Dimension(name) for name in names)
    if len(found) > MAX_DIMENSIONS:
        raise invalid(Fault("by", f"at most {MAX_DIMENSIONS}: groups of groups"))
    for one in found:
        _check(one)
    if len({one.target for one in found}) < len(found):
        raise invalid(Fault("by", "each once"))
    if sum(one.is_time for one in found) > 1:
        raise invalid(Fault("by", f"one of {', '.join(UNITS)}, not two"))
    return found


def parse_measure(name: str) -> Measure:
    """Return the number to average; raise Problem for a name that cannot be one."""
    if name not in NUMBERS and not _is_key(name):
        known = ("rating", "latency_ms", "cost_usd")
        said = f"{name[:40]!r} is none of {', '.join(known)}, data.<key>, request.<key>"
        raise invalid(Fault("measure", said + _near(name, known)))
    return Measure(name)


def _check(dimension: Dimension) -> None:
    if dimension.target not in NAMES and not _is_key(dimension.target):
        said = f"{dimension.name[:40]!r} is none of {', '.join(NAMES)}, data.<key>, request.<key>"
        raise invalid(Fault("by", said + _near(dimension.name, NAMES)))


def _is_key(name: str) -> bool:
    match = _KEY.fullmatch(name)
    return match is not None and len(match[2]) <= MAX_KEY_LENGTH and "\0" not in name


def _parted(name: str) -> tuple[str, str]:
    part, _, key = name.partition(".")
    return part, key


def _near(name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(name[:40], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
