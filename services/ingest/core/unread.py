"""Facts whose value their column cannot hold: they are stored, and the answer warns of each.  Pure.

The columns read the texts of the values, as the DDL of `feedback_state` has it; its `unread` names the same
keys.
"""

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import orjson

from schemas.instants import FORMS, instant
from schemas.limits import END_OF_TIMES

_NUMBERS = (float, int, type(None))
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)


_USUAL = re.compile(
    r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
"""Most times, told in a fraction of what it takes to read one."""
_USUAL_SECONDS = int(END_OF_TIMES.timestamp())


def unread(facts: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return a warning for each fact of a request that its typed column cannot hold."""
    if not facts:
        return []
    found = []
    for name, (reads, wanted) in _COLUMNS.items():
        if name in facts and not reads(facts[name]):
            detail = f"the value is stored, but its column stays empty: it takes {wanted}"
            found.append({"key": f"request.{name}", "detail": detail})
    return found


def _is_time(value: Any) -> bool:
    if type(value) is str:
        return _USUAL.fullmatch(value) is not None or not value or instant(value) is not None
    if value is None or (type(value) in _NUMBERS and 0 <= value < _USUAL_SECONDS):
        return True
    return instant(orjson.dumps(value).decode()) is not None


def _is_number(value: Any) -> bool:
    if type(value) is str:
        return not value or (_NUMBER.fullmatch(value) is not None and isfinite(float(value)))
    return type(value) in _NUMBERS


_COLUMNS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "started_at": (_is_time, FORMS),
    "latency_ms": (_is_number, "a number of milliseconds"),
    "cost_usd": (_is_number, "a number of US dollars"),
}
