"""Comments with the words that were searched for marked in them.  Pure.

A comment is whatever somebody wrote: each piece of it is escaped on its own, and only the marks are markup.
"""

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from services.query.reads.core.filters import is_unspaced, words

SHOWN = 600
"""Characters of a comment that a list shows."""

BEFORE = 200
"""Characters shown before the first match, where a comment is cut."""

_LETTER = "[A-Za-z0-9\u0080-\U0010ffff]"


def highlighted(comment: str, search: str) -> Markup:
    """Return the comment with each word of the search marked, as the search finds them: whatever their case.

    A long comment is cut to a stretch around the first match.
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
    """Return what finds the words; a word of a script without spaces is found within others, too."""
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
