"""Times that clients send, parsed by the same rules everywhere.  Pure.

The column `started_at` reads the same forms, in SQL: a test holds both together.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.limits import END_OF_TIMES, START_OF_TIMES

FORMS = (
    "RFC 3339 or ISO 8601 (2026-01-31T12:00:00Z), or Unix time in seconds, ms, us or ns; from 1970 to 2099"
)
"""What can be read, for messages."""

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](?:"
    r"([01]\d|2[0-3])( ?(?:Z|UTC)|[+-](?:[01]\d|2[0-3]):[0-5]\d)?"
    r"|((?:[01]\d|2[0-3]):[0-5]\d(?::(?:[0-5]\d|60)(?:[.,]\d+)?)?|24:00(?::00(?:[.,]0+)?)?)"
    r"( ?(?:Z|UTC|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?))?"
    r"))?",
    re.ASCII,
)
_UNIX = re.compile(r"(?:0|[1-9][0-9]*)(\.[0-9]+)?(E[+-]?[0-9]+)?", re.ASCII)
_SHORTEST_BOUND = 9
_END = (f"{END_OF_TIMES:%Y-%m-%d}", f"{END_OF_TIMES:%Y-%m-%dT%H:%M:%SZ}")
_LONGEST = 19
"""Digits of nanoseconds since 1970; a longer whole number is no time."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MILLISECOND = 10**6, 10**3
_UNITS = ((10**11, _SECOND), (10**14, _MILLISECOND), (10**17, 1))
"""Bounds of Unix times, and microseconds of the unit below each; above all of them, nanoseconds."""


def instant(text: str) -> datetime | None:
    """Return the time that a text names, in UTC, also where it names no zone; None where it names none.

    What is finer than a microsecond is cut off.  Second 60 is the first one of the next minute, and 24:00
    the first moment of the next day.  A time outside START_OF_TIMES to END_OF_TIMES is none.
    """
    upper = text.upper()
    try:
        if matched := _ISO.fullmatch(upper):
            found = _iso(matched)
        elif _UNIX.fullmatch(upper):
            found = _EPOCH + timedelta(microseconds=_unix(upper))
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return found if START_OF_TIMES <= found < END_OF_TIMES else None


def instant_of(value: Any) -> datetime | None:
    """Return the time that a JSON value names, as `instant` does: a text or a number; None for any other."""
    if isinstance(value, str):
        return instant(value)
    return instant(str(value)) if type(value) in (int, float) else None


def rfc3339(moment: datetime) -> str:
    """Return a time in UTC as RFC 3339 with a Z, and microseconds if it has any."""
    return moment.isoformat().replace("+00:00", "Z")


def bound(text: str) -> datetime | None:
    """Return the time that a person names to ask from or up to there, as `instant` does, or END_OF_TIMES.

    None for numbers below 10^8 as well: they are years, or days without hyphens, more often than seconds.
    """
    if text.isdigit() and len(text) < _SHORTEST_BOUND:
        return None
    return END_OF_TIMES if text.upper() in _END else instant(text)


def _iso(matched: re.Match[str]) -> datetime:
    day, hour, hour_zone, time, time_zone = (group or "" for group in matched.groups())
    time, more = time or hour or "00", timedelta()
    if time.startswith("24"):
        time, more = "00" + time[2:], timedelta(days=1)
    if time[5:8] == ":60":
        time, more = f"{time[:5]}:59{time[8:]}", timedelta(seconds=1)
    zone = (hour_zone or time_zone).strip().replace("UTC", "Z") or "Z"
    return datetime.fromisoformat(f"{day}T{time}{zone}").astimezone(UTC) + more


def _unix(text: str) -> int:
    """Return microseconds since 1970; ValueError, OverflowError."""
    if text.isdigit():
        if len(text) > _LONGEST:
            raise OverflowError
        number = int(text)
        return next((number * unit for end, unit in _UNITS if number < end), number // 1000)
    real = float(text)
    return round(next((real * unit for end, unit in _UNITS if real < end), real / 1000))
