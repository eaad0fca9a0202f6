"""Times on a command line: a duration such as `2h`, or RFC 3339."""

import re
from datetime import datetime, timedelta

from schemas.instants import FORMS, bound

_SPAN = re.compile(r"([0-9]{1,6})\s*(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def ago(text: str, now: datetime) -> datetime:
    """Return the time of a text: `2h` ago, or RFC 3339, in UTC without a zone; ValueError."""
    span = _span(text)
    return _named(text) if span is None else now - span


def ahead(text: str, now: datetime) -> datetime:
    """Return the time of a text: in `90d`, or RFC 3339, in UTC without a zone; ValueError."""
    span = _span(text)
    return _named(text) if span is None else now + span


def _span(text: str) -> timedelta | None:
    found = _SPAN.fullmatch(text.strip())
    return None if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})


def _named(text: str) -> datetime:
    named = bound(text.strip())
    if named is None:
        raise ValueError(f"{text!r} is not a time: 30m, 2h, 7d, or {FORMS}")
    return named
