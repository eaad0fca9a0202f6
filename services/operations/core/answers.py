"""What an HTTP response means for the request: settled, retry later, or stop.

A batch is settled only by a response that decides each of its events.  One with an event that may be retried
is sent again as a whole under its Idempotency-Key, and ingest recognises what it had accepted.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

LONGEST_PAUSE_SECONDS = 60.0

_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_REJECTED_STATUS = frozenset({400, 404, 413, 422})
_RETRIED_CODES = frozenset(
    {"overloaded", "log_unavailable", "rate_limited", "request_timeout", "internal_error"}
)
_OTHER_SERVER = "this is not a response of Afterword's ingest; is the URL right?"


@dataclass(frozen=True)
class EventRejection:
    """Why one event of a batch was rejected; `errors` has the path of each fault."""

    index: int
    code: str
    detail: str
    errors: tuple[dict[str, str], ...] = ()


class BatchSettled(NamedTuple):
    """Every event of the batch is either durable or rejected for good."""

    rejections: tuple[EventRejection, ...]


class RetryLater(NamedTuple):
    """The request has to be sent again, after at least `after_seconds`.

    `reached` is False if no server answered.
    """

    why: str
    after_seconds: float = 0.0
    reached: bool = True


class RequestRefused(NamedTuple):
    """The server will not accept this request, however often it is sent."""

    why: str


def meaning_of(
    status: int, retry_after: str | None, body: bytes, count: int
) -> BatchSettled | RetryLater | RequestRefused:
    """Return what the response to a batch of `count` events means.  `retry_after` is the header's text."""
    pause = pause_of(retry_after)
    if status == 207:
        return _items(body, count, pause)
    if status in _RETRIED_STATUS:
        return RetryLater(f"{status} {problem_in(body)}".strip(), pause)
    if status in (401, 403):
        return RequestRefused(f"the server refuses the key ({status} {problem_in(body)}); see --key")
    if status in (400, 413, 415, 422):
        return RequestRefused(f"the server refuses a whole batch ({status} {problem_in(body)})")
    return RequestRefused(f"{status}: {_OTHER_SERVER}")


def meaning_of_one(
    status: int, retry_after: str | None, body: bytes
) -> BatchSettled | RetryLater | RequestRefused:
    """Return what the response to a request with one event means, in any dialect."""
    if 200 <= status < 300:
        return BatchSettled(())
    if status in _REJECTED_STATUS and (problem := problem_in(body)):
        code, _, detail = problem.partition(": ")
        return BatchSettled((EventRejection(0, code, detail),))
    return meaning_of(status, retry_after, body, 1)


def refused_export(status: int, retry_after: str | None, body: bytes) -> RetryLater | RequestRefused:
    """Return what a response of query that is not an export means.  `retry_after` is the header's text."""
    problem = problem_in(body)
    if status in _RETRIED_STATUS:
        return RetryLater(f"{status} {problem}".strip(), pause_of(retry_after))
    if status in (401, 403):
        return RequestRefused(f"the server refuses the key ({status} {problem}); see --key")
    if status == 422 and problem:
        return RequestRefused(f"the server refuses the filters ({problem})")
    return RequestRefused(f"{status}: this is not a response of Afterword's query service; is the URL right?")


def _items(body: bytes, count: int, pause: float) -> BatchSettled | RetryLater | RequestRefused:
    try:
        items = orjson.loads(body)["items"]
        rejections = tuple(_rejection(item) for item in items if "error" in item)
        complete = [item["index"] for item in items] == list(range(count))
    except (ValueError, KeyError, TypeError):
        return RequestRefused(f"207: {_OTHER_SERVER}")
    if not complete:
        return RequestRefused("207 without a result for each event")
    retried = [rejection for rejection in rejections if rejection.code in _RETRIED_CODES]
    if retried:
        return RetryLater(f"{retried[0].code}: {retried[0].detail}", pause)
    return BatchSettled(rejections)


def _rejection(item: dict[str, Any]) -> EventRejection:
    error = item["error"]
    code = error["code"]
    return EventRejection(item["index"], code, error.get("detail", ""), tuple(error.get("errors", ())))


def problem_in(body: bytes) -> str:
    """Return code and detail of a problem document; empty if the body is not one."""
    try:
        problem = orjson.loads(body)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return ""


def pause_of(retry_after: str | None) -> float:
    """Return the seconds of a Retry-After header, at most LONGEST_PAUSE_SECONDS; 0 without one."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return 0.0
    return min(float(retry_after), LONGEST_PAUSE_SECONDS)
