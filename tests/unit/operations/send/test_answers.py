"""What each answer of ingest means for what was sent."""

import json
from typing import Any

import pytest

from services.operations.core.answers import (
    LONGEST_PAUSE_SECONDS,
    BatchSettled,
    EventRejection,
    RequestRefused,
    RetryLater,
    meaning_of,
    meaning_of_one,
)
from services.operations.exits import UnreachableError
from services.operations.http_client import FIRST_CONTACT_SECONDS, OutageLimit
from services.operations.send.core.progress import SendProgress
from services.operations.send.core.split import FilePosition

TAKEN = {"index": 0, "status": "accepted", "request_id": "a", "event_id": "x", "version": "1"}


def batch(*items: dict[str, Any]) -> bytes:
    """Return the body of a 207."""
    return json.dumps({"items": [{**item, "index": index} for index, item in enumerate(items)]}).encode()


def failed(code: str) -> dict[str, Any]:
    """Return an item that was not taken."""
    return {"index": 0, "status": "rejected", "error": {"code": code, "detail": "because"}}


def problem(code: str) -> bytes:
    """Return a problem document."""
    return json.dumps({"code": code, "detail": "because"}).encode()


def test_a_batch_is_settled_when_every_event_is_decided() -> None:
    """Rejected for good is decided, too."""
    meaning = meaning_of(207, None, batch(TAKEN, failed("invalid_feedback"), TAKEN), 3)

    assert meaning == BatchSettled((EventRejection(1, "invalid_feedback", "because"),))


@pytest.mark.parametrize("code", ["overloaded", "log_unavailable", "rate_limited", "internal_error"])
def test_a_batch_comes_again_when_one_event_may(code: str) -> None:
    """Even if all the others are decided."""
    meaning = meaning_of(207, "3", batch(TAKEN, failed("invalid_feedback"), failed(code)), 3)

    assert meaning == RetryLater(f"{code}: because", 3.0)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_trouble_of_the_server_is_no_verdict(status: int) -> None:
    """Nor is that of a proxy on the way, whatever its page says."""
    assert meaning_of(status, "7", b"<html>", 1) == RetryLater(str(status), 7.0)
    assert meaning_of_one(status, None, problem("overloaded")) == RetryLater(
        f"{status} overloaded: because", 0.0
    )


@pytest.mark.parametrize("status", [200, 202, 301, 302, 404, 405])
def test_what_ingest_never_answers_to_a_batch_is_another_server(status: int) -> None:
    """A retry would change nothing."""
    assert isinstance(meaning_of(status, None, b"{}", 1), RequestRefused)


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415, 422])
def test_a_refused_batch_reports_why(status: int) -> None:
    """With the words of the server."""
    meaning = meaning_of(status, None, problem("some_code"), 1)

    assert isinstance(meaning, RequestRefused)
    assert "some_code: because" in meaning.why


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"items": 3}', b'{"items": [{}]}', b'{"items": [{"index": 0, "error": 1}]}']
)
def test_a_207_of_another_kind_is_another_server(body: bytes) -> None:
    """Never an event that counts as taken though nobody took it."""
    assert isinstance(meaning_of(207, None, body, 1), RequestRefused)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_for_another_number_of_events_is_refused(count: int) -> None:
    """An event without an answer is not taken."""
    assert isinstance(meaning_of(207, None, batch(TAKEN, TAKEN), count), RequestRefused)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("5", 5),
        ("99999", LONGEST_PAUSE_SECONDS),
        ("soon", 0),
        ("²", 0),
        ("-1", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_within_reason(header: str | None, seconds: float) -> None:
    """A date, or nonsense, leaves the own pause."""
    assert meaning_of(503, header, b"", 1) == RetryLater("503", seconds)


@pytest.mark.parametrize("status", [200, 202, 208])
def test_one_event_is_settled_by_any_success(status: int) -> None:
    """In every dialect."""
    assert meaning_of_one(status, None, b"") == BatchSettled(())


def test_one_event_may_be_rejected() -> None:
    """A problem document says why; a 404 without one is another server."""
    assert meaning_of_one(422, None, problem("invalid_feedback")) == BatchSettled(
        (EventRejection(0, "invalid_feedback", "because"),)
    )
    assert isinstance(meaning_of_one(404, None, b"<html>"), RequestRefused)
    assert isinstance(meaning_of_one(401, None, problem("unauthenticated")), RequestRefused)


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_patience_is_short_before_the_first_answer() -> None:
    """The URL may be wrong."""
    clock = Clock()
    patience = OutageLimit(60, clock)
    gone = RetryLater("nobody there", reached=False)
    patience.check(gone)

    clock.now = FIRST_CONTACT_SECONDS
    with pytest.raises(UnreachableError, match="nobody there"):
        patience.check(gone)


def test_patience_begins_again_with_each_success() -> None:
    """A server that takes a batch now and then is slow, not gone."""
    clock = Clock()
    patience = OutageLimit(60, clock)
    busy = RetryLater("busy")
    for clock.now in (50, 100, 150):
        patience.check(busy)
        patience.settled()

    clock.now = 209
    patience.check(busy)
    clock.now = 210
    with pytest.raises(UnreachableError):
        patience.check(busy)


def test_progress_survives_its_file() -> None:
    """What was written is what is read."""
    progress = SendProgress(
        "run", FilePosition(5, 2, 77), {"5.1": "5.1.0.0000abcd", "5.faults": ""}, 10, 2, finished=True
    )

    assert SendProgress.decoded(progress.encoded()) == progress


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"3", b'{"format": 2}', b'{"format": 1, "run": "x"}'])
def test_a_foreign_state_file_is_an_error(text: bytes) -> None:
    """Never progress that was not made."""
    with pytest.raises(ValueError, match=r"."):
        SendProgress.decoded(text)
