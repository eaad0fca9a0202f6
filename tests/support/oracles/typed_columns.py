"""What the typed columns of `feedback_state` should hold, said in Python: the oracle of the DDL."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from schemas.instants import instant

WORDS = {"amazing": 5.0, "positive": 4.0, "negative": 2.0, "true": 5.0, "false": 1.0}
VOTES = ("amazing", "positive", "negative")

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[+-]?[0-9]+)?", re.ASCII)


def text(value: Any) -> str:
    """Return a JSON value as the columns see it: a string as it is, null as empty, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def lower(value: str) -> str:
    """Return the text with A to Z in lower case, as ClickHouse's `lower` does it."""
    return "".join(chr(ord(one) + 32) if "A" <= one <= "Z" else one for one in value)


def number(value: str) -> float | None:
    """Return a finite number that the text is, by JSON's grammar."""
    if not _NUMBER.fullmatch(lower(value)):
        return None
    found = float(value)
    return found if math.isfinite(found) else None


def rating(data: Mapping[str, Any]) -> float | None:
    """Return the rating: by the mapping of words, or the number."""
    word = lower(text(data.get("rating")).strip(" \t\n\r"))
    return WORDS.get(word, number(word))


def vote(data: Mapping[str, Any]) -> str:
    """Return the word of the rating."""
    word = lower(text(data.get("rating")).strip(" \t\n\r"))
    return word if word in VOTES else ""


def sentiment(data: Mapping[str, Any]) -> str:
    """Return what a rating on the scale of 1 to 5 says."""
    value = rating(data)
    if value is None or not 1 <= value <= 5:
        return ""
    return "positive" if value >= 4 else "negative" if value <= 2 else "neutral"


def helpful(data: Mapping[str, Any]) -> bool | None:
    """Return the boolean, also as a word."""
    return {"true": True, "false": False}.get(lower(text(data.get("helpful"))))


def tags(data: Mapping[str, Any]) -> list[str]:
    """Return the list's items as texts."""
    found = data.get("tags")
    return [text(one) for one in found if text(one) != ""] if isinstance(found, list) else []


def started_at(request: Mapping[str, Any]) -> datetime | None:
    """Return the instant, as ingest reads it to warn; a table of cases holds that to the documents."""
    return instant(text(request.get("started_at")))
