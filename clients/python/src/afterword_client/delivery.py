"""Posts one batch of events to ingest, and returns what the response means for it."""

from __future__ import annotations

import codecs
import json
import uuid
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, NamedTuple, Union
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

__version__ = "0.1.0"

LONGEST_RETRY_AFTER_SECONDS = 60.0
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 30.0
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
RETRIED_CODES = frozenset(
    {"overloaded", "log_unavailable", "rate_limited", "request_timeout", "internal_error"}
)
# Sockets import it on first use, and a fork in the middle of an import leaves the child with a part of it.
codecs.lookup("idna")

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Event(NamedTuple):
    """An event as a line of JSON, and the request that it belongs to."""

    request_id: str
    line: bytes


class Batch:
    """Events that are sent together.  A retry has the same bytes and the same Idempotency-Key."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.key = uuid.uuid4().hex
        self.body = b"".join(event.line + b"\n" for event in events)


class ItemRejection(NamedTuple):
    """Why ingest rejected one event of a batch."""

    position: int
    code: str
    detail: str


class Settled(NamedTuple):
    """Every event of the batch is durable or rejected."""

    rejections: list[ItemRejection]


class Postponed(NamedTuple):
    """The batch has to be sent again, after at least `after_seconds`."""

    why: str
    after_seconds: float = 0.0


class Refused(NamedTuple):
    """The batch will never be accepted."""

    why: str


Answer = Union[Settled, Postponed, Refused]


class Ingest:
    """Ingest at a URL.  A key is sent as a bearer token; ValueError for an unusable URL or key."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _is_visible(url):
            raise ValueError("url must be the http:// or https:// address of Afterword's ingest")
        if key and not _is_visible(key):
            raise ValueError("key must be visible ASCII characters")
        self._url = f"{url.rstrip('/')}/v1/events"
        self._headers = {
            "Content-Type": "application/x-ndjson",
            "User-Agent": f"afterword-client/{__version__} (Python)",
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }
        # A proxy of the environment cannot reach a server on this machine.
        proxies = [ProxyHandler({})] if parts.hostname in LOOPBACK else []
        self._opener = build_opener(_NoRedirects, *proxies)

    def post(self, batch: Batch, timeout: float) -> Answer:
        """Return what the response means; Postponed without one.  `timeout`, in seconds, is for each wait."""
        headers = {**self._headers, "Idempotency-Key": batch.key}
        request = Request(self._url, batch.body, headers, method="POST")  # noqa: S310 (checked above)
        try:
            with self._opener.open(request, timeout=timeout) as response:
                return answer_of(response.status, response.read(), len(batch.events))
        except HTTPError as error:
            with error:
                return refusal_of(error.code, error.headers.get("Retry-After"), _body_of(error))
        except (OSError, HTTPException) as error:
            return Postponed(f"no response ({str(error) or type(error).__name__})")


def _is_visible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)


class _NoRedirects(HTTPRedirectHandler):
    """Turns a redirect into an error: urllib would repeat it as a GET, and send the key elsewhere."""

    def redirect_request(self, *_args: Any) -> None:
        """Return no request."""


def _body_of(error: HTTPError) -> bytes:
    try:
        return error.read()
    except (OSError, HTTPException):
        return b""


def answer_of(status: int, body: bytes, count: int) -> Answer:
    """Return what a successful response to `count` events means.

    It is Postponed if ingest may accept one of them later: the whole batch is sent again under its
    Idempotency-Key, and ingest recognises what it has accepted.
    """
    try:
        items = json.loads(body)["items"]
        complete = [item["index"] for item in items] == list(range(count))
        errors = [(item["index"], item["error"]) for item in items if "error" in item]
        rejections = [ItemRejection(index, str(e["code"]), str(e.get("detail", ""))) for index, e in errors]
    except (ValueError, LookupError, TypeError, AttributeError):
        complete, rejections = False, []
    if not complete:
        return Refused(f"{status}, but not the response of Afterword's ingest; is the URL right?")
    for rejection in rejections:
        if rejection.code in RETRIED_CODES:
            return Postponed(f"{rejection.code}: {rejection.detail}")
    return Settled(rejections)


def refusal_of(status: int, retry_after: str | None, body: bytes) -> Postponed | Refused:
    """Return what a response without success means.  `retry_after` is the header's text."""
    try:
        problem = json.loads(body)
        why = f"{status} {problem['code']}: {problem['detail']}"
    except (ValueError, LookupError, TypeError):
        why = str(status)
    return Postponed(why, seconds_of(retry_after)) if status in RETRIED_STATUS else Refused(why)


def seconds_of(retry_after: str | None) -> float:
    """Return the seconds of a Retry-After, at most LONGEST_RETRY_AFTER_SECONDS; 0 without a usable one.

    A date gives the longest wait, since clocks differ.
    """
    if retry_after is None:
        return 0.0
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), LONGEST_RETRY_AFTER_SECONDS)
    try:
        parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return 0.0
    return LONGEST_RETRY_AFTER_SECONDS


def delay_of(attempt: int, share: float) -> float:
    """Return the seconds before the next attempt, counted from 0: doubled each time, half of it by `share`.

    `share`, from 0 to 1, is drawn by the caller, so that many processes do not retry together.
    """
    full: float = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempt, 16))
    return full * (0.5 + share / 2)
