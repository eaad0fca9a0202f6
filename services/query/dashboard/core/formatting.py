"""Formats values for pages: times, numbers, votes, links, and comments with matches marked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from markupsafe import Markup, escape

from services.query.reads.core.filters import Filters, is_unspaced, to_parameters, words

VOTES = {"positive": "👍", "negative": "👎", "amazing": "❤️"}
"""The sign of each word of a vote."""

DASH = "\N{EN DASH}"

_STEPS = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (30 * 86_400, 86_400, "d"))


def moment(text: str | datetime) -> datetime:
    """Parse a time of ClickHouse; UTC if it has no zone."""
    found = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def ago(then: str | datetime, now: datetime) -> str:
    """Return how long ago a time was: `12 s ago`, `3 h ago`; from 30 days on its date."""
    found = moment(then)
    seconds = (now - found).total_seconds()
    if seconds < -1:
        return exact(found)
    if seconds < 5:
        return "just now"
    for below, unit, name in _STEPS:
        if seconds < below:
            return f"{int(seconds // unit)} {name} ago"
    return f"{found.day} {found:%b %Y}"


def exact(then: str | datetime) -> str:
    """Return a time to the millisecond, in UTC."""
    found = moment(then).astimezone(UTC)
    return f"{found:%Y-%m-%d %H:%M:%S}.{found.microsecond // 1000:03} UTC"


def number(value: float | None) -> str:
    """Return a number with at most 4 significant digits."""
    if value is None:
        return DASH
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def count(value: float | None) -> str:
    """Return a count with thousands separators."""
    return DASH if value is None else f"{int(value):,}"


def percent(value: float | None) -> str:
    """Return a share of 1 as a percentage with one digit."""
    return DASH if value is None else f"{100 * value:.1f}%"


def milliseconds(value: float | None) -> str:
    """Return milliseconds, or seconds from one second on."""
    if value is None:
        return DASH
    if abs(value) < 1000:
        return f"{value:.0f} ms" if abs(value) >= 10 or float(value).is_integer() else f"{value:.1f} ms"
    return f"{value / 1000:,.2f} s" if abs(value) < 100_000 else f"{value / 1000:,.0f} s"


def dollars(value: float | None) -> str:
    """Return US dollars, with four decimals below one dollar."""
    if value is None:
        return DASH
    if 0 < abs(value) < 0.00005:
        return "<$0.0001"
    return f"${value:,.4f}" if 0 < abs(value) < 1 else f"${value:,.2f}"


def vote_sign(row: Mapping[str, Any]) -> str:
    """Return the sign of a row's vote, else its rating as a number, else nothing."""
    if sign := VOTES.get(str(row.get("vote") or "")):
        return sign
    rating = row.get("rating")
    return "" if rating is None else number(float(rating))


def vote_name(row: Mapping[str, Any]) -> str:
    """Return the vote of a row in words, for screen readers."""
    if row.get("vote"):
        return f"vote: {row['vote']}"
    return "" if row.get("rating") is None else f"rating: {number(float(row['rating']))}"


def shortened(text: str, length: int = 160) -> str:
    """Return a text on one line, cut to `length` characters."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length and len(text) <= 4 * length else f"{line[:length].rstrip()}…"


def plain(value: object) -> str:
    """Return a JSON value as text: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def pretty(value: object) -> str:
    """Return a JSON value over multiple lines, its keys in order."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()


def request_href(request_id: str) -> str:
    """Return the address of a request's page.

    Browsers remove `.` and `..` from a path, even percent-encoded.
    """
    if request_id in (".", ".."):
        return f"/requests?{urlencode({'request_id': request_id})}"
    return f"/requests/{quote(request_id, safe='')}"


def key(request_id: str) -> str:
    """Return a hash of a request id for ids of elements, which have no spaces."""
    return sha256(request_id.encode()).hexdigest()[:16]


def with_parameters(path: str, parameters: Sequence[tuple[str, str]]) -> str:
    """Return a link with these parameters."""
    return f"{path}?{urlencode(parameters)}" if parameters else path


def with_filters(path: str, filters: Filters, **extra: object) -> str:
    """Return a link to another page that keeps the filters."""
    parameters = [*to_parameters(filters), *((name, str(value)) for name, value in extra.items() if value)]
    return with_parameters(path, parameters)


SHOWN = 600
"""The most characters of a comment in a list."""

BEFORE = 200
"""Characters before the first match in a cut comment."""

_LETTER = "[A-Za-z0-9\u0080-\U0010ffff]"


def highlighted(comment: str, search: str) -> Markup:
    """Return the comment with the matches of the search marked.

    A long comment is cut to a part around the first match.  Each piece is escaped on its own.
    """
    pattern = _pattern(search)
    first = pattern.search(comment) if pattern else None
    start, end = _stretch(len(comment), first.start() if first else 0)
    pieces = Markup().join(_pieces(comment[start:end], pattern))
    return Markup("{0}{1}{2}").format("…" if start else "", pieces, "…" if end < len(comment) else "")


def _pieces(text: str, pattern: re.Pattern[str] | None) -> Iterator[Markup]:
    done = 0
    for match in pattern.finditer(text) if pattern else ():
        yield escape(text[done : match.start()])
        yield Markup("<mark>{0}</mark>").format(match[0])
        done = match.end()
    yield escape(text[done:])


def _pattern(search: str) -> re.Pattern[str] | None:
    """Return a pattern for the words; words of scripts without spaces match within others, too."""
    sought = sorted(words(search), key=len, reverse=True)
    if not sought:
        return None
    parts = [
        re.escape(word) if is_unspaced(word) else f"(?<!{_LETTER}){re.escape(word)}(?!{_LETTER})"
        for word in sought
    ]
    return re.compile("|".join(parts), re.IGNORECASE)


def _stretch(length: int, first: int) -> tuple[int, int]:
    if length <= SHOWN:
        return 0, length
    start = max(0, min(first - BEFORE, length - SHOWN))
    return start, start + SHOWN
