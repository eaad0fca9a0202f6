"""What an answer of ingest means for the batch that was sent: settled, again, or stop.

Pure.  A batch is settled only by an answer that decides every event of it: one with an event that
may come again is sent again whole, under its key, and ingest recognises what it had taken.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

LONGEST_PAUSE_SECONDS = 60.0

_AGAIN_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_REJECTED_STATUS = frozenset({400, 404, 413, 422})
_AGAIN_CODES = frozenset(
    {"overloaded", "log_unavailable", "rate_limited", "request_timeout", "internal_error"}
)
_OTHER_SERVER = "that is no answer of Afterword's ingest; is the URL right?"


@dataclass(frozen=True)
class Rejection:
    """Why one event of the batch was rejected; `errors` has the path of each fault."""

    index: int
    code: str
    detail: str
    errors: tuple[dict[str, str], ...] = ()


class Settled(NamedTuple):
    """Every event of the batch is either durable or rejected for good."""

    rejections: tuple[Rejection, ...]


class Again(NamedTuple):
    """The batch has to be sent again, after so many seconds at the earliest.

    `reached` is false when nobody was there to answer.
    """

    why: str
    after_seconds: float = 0.0
    reached: bool = True


class Refused(NamedTuple):
    """No event will be taken, however often it is sent."""

    why: str


def meaning_of(status: int, retry_after: str | None, body: bytes, count: int) -> Settled | Again | Refused:
    """Return what the answer to a batch of `count` events means.  `retry_after` is the header's text."""
    pause = pause_of(retry_after)
    if status == 207:
        return _items(body, count, pause)
    if status in _AGAIN_STATUS:
        return Again(f"{status} {problem_in(body)}".strip(), pause)
    if status in (401, 403):
        return Refused(f"the server refuses the key ({status} {problem_in(body)}); see --key")
    if status in (400, 413, 415, 422):
        return Refused(f"the server refuses a whole batch ({status} {problem_in(body)})")
    return Refused(f"{status}: {_OTHER_SERVER}")


def meaning_of_one(status: int, retry_after: str | None, body: bytes) -> Settled | Again | Refused:
    """Return what the answer to a request with one event means, in whatever dialect it was."""
    if 200 <= status < 300:
        return Settled(())
    if status in _REJECTED_STATUS and (problem := problem_in(body)):
        code, _, detail = problem.partition(": ")
        return Settled((Rejection(0, code, detail),))
    return meaning_of(status, retry_after, body, 1)


def _items(body: bytes, count: int, pause: float) -> Settled | Again | Refused:
    try:
        items = orjson.loads(body)["items"]
        rejections = tuple(_rejection(item) for item in items if "error" in item)
        complete = [item["index"] for item in items] == list(range(count))
    except (ValueError, KeyError, TypeError):
        return Refused(f"207: {_OTHER_SERVER}")
    if not complete:
        return Refused("207 without an answer for each event")
    again = [rejection for rejection in rejections if rejection.code in _AGAIN_CODES]
    if again:
        return Again(f"{again[0].code}: {again[0].detail}", pause)
    return Settled(rejections)


def _rejection(item: dict[str, Any]) -> Rejection:
    error = item["error"]
    return Rejection(item["index"], error["code"], error.get("detail", ""), tuple(error.get("errors", ())))


def problem_in(body: bytes) -> str:
    """Return what a problem document says: its code and its detail; or nothing."""
    try:
        problem = orjson.loads(body)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return ""


def pause_of(retry_after: str | None) -> float:
    """Return the seconds that a Retry-After header asks for, within reason."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return 0.0
    return min(float(retry_after), LONGEST_PAUSE_SECONDS)
