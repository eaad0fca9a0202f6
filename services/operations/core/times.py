"""Times as people write them on a command line.  Pure."""

import re
from datetime import datetime, timedelta

from schemas.instants import FORMS, bound

_SPAN = re.compile(r"([0-9]{1,6})\s*(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def ago(text: str, now: datetime) -> datetime:
    """Return the time that a text names: `2h` ago, or RFC 3339, in UTC where it has no zone; ValueError."""
    span = _span(text)
    return _named(text) if span is None else now - span


def ahead(text: str, now: datetime) -> datetime:
    """Return the time that a text names: in `90d`, or RFC 3339, in UTC where it has no zone; ValueError."""
    span = _span(text)
    return _named(text) if span is None else now + span


def _span(text: str) -> timedelta | None:
    found = _SPAN.fullmatch(text.strip())
    return None if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})


def _named(text: str) -> datetime:
    named = bound(text.strip())
    if named is None:
        raise ValueError(f"{text!r} is no time: 30m, 2h, 7d, or {FORMS}")
    return named
