"""What a response means for a batch of the Python client, and how long the next attempt waits."""

import json
from typing import Any

import pytest

from afterword_client.delivery import (
    Batch,
    Event,
    Ingest,
    ItemRejection,
    Postponed,
    Refused,
    Settled,
    answer_of,
    delay_of,
    refusal_of,
    seconds_of,
)


def answer(*items: dict[str, Any]) -> bytes:
    """Return the body of a 207 with these items, in order."""
    return json.dumps({"items": [{"index": index, **item} for index, item in enumerate(items)]}).encode()


ACCEPTED: dict[str, Any] = {"status": "accepted"}


def rejected(code: str) -> dict[str, Any]:
    """Return an item with an error."""
    return {"status": "rejected", "error": {"code": code, "detail": "because"}}


def test_a_batch_is_settled_once_each_event_is_accepted_or_rejected_for_good() -> None:
    """Rejections have the position of their event."""
    assert answer_of(207, answer(ACCEPTED, ACCEPTED), 2) == Settled([])
    assert answer_of(207, answer(ACCEPTED, rejected("invalid_feedback")), 2) == Settled(
        [ItemRejection(1, "invalid_feedback", "because")]
    )


@pytest.mark.parametrize("code", ["overloaded", "log_unavailable", "rate_limited", "internal_error"])
def test_an_event_that_may_be_accepted_later_postpones_the_batch(code: str) -> None:
    """Beside one that never will be."""
    body = answer(rejected("invalid_feedback"), rejected(code))

    assert answer_of(207, body, 2) == Postponed(f"{code}: because")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"items": 5}', b'{"items": [{}]}', answer(ACCEPTED, ACCEPTED)]
)
def test_a_response_of_another_server_refuses_the_batch(body: bytes) -> None:
    """It is not a response to one event."""
    assert isinstance(answer_of(200, body, 1), Refused)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_these_responses_postpone(status: int) -> None:
    """For as long as Retry-After demands."""
    body = b'{"code": "overloaded", "detail": "too much is waiting"}'

    assert refusal_of(status, "7", body) == Postponed(f"{status} overloaded: too much is waiting", 7)
    assert refusal_of(status, None, b"Bad Gateway") == Postponed(str(status))


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 413, 415, 422])
def test_these_responses_refuse(status: int) -> None:
    """With the reason of the response, if it has one."""
    assert refusal_of(status, None, b'{"code": "c", "detail": "d"}') == Refused(f"{status} c: d")
    assert refusal_of(status, "7", b"[]") == Refused(str(status))


def test_retry_after_is_seconds_or_a_date() -> None:
    """Clocks differ, so a date is the longest wait; anything else counts as absent."""
    texts = ("0", "2", "999999", "Wed, 21 Oct 2015 07:28:00 GMT", "-1", "soon", "²", None)

    assert [seconds_of(text) for text in texts] == [0, 2, 60, 60, 0, 0, 0, 0]


def test_delays_double_up_to_the_longest_and_differ_by_their_share() -> None:
    """However many attempts there were."""
    assert [delay_of(attempt, 1) for attempt in range(4)] == [0.5, 1, 2, 4]
    assert [delay_of(attempt, 0) for attempt in range(4)] == [0.25, 0.5, 1, 2]
    assert delay_of(100_000, 1) == 30


def test_a_batch_is_lines_of_json_with_a_key_of_its_own() -> None:
    """A second batch of the same events has another key."""
    events = [Event("a", b'{"request_id":"a"}'), Event("b", b'{"request_id":"b"}')]
    batch = Batch(events)

    assert batch.body == b'{"request_id":"a"}\n{"request_id":"b"}\n'
    assert batch.key != Batch(events).key


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://host", "file:///etc", "http://", "http://a b"])
def test_an_unusable_url_is_an_error_at_once(url: str) -> None:
    """Not in the background, later."""
    with pytest.raises(ValueError, match="address of Afterword's ingest"):
        Ingest(url, None)


def test_an_unusable_key_is_an_error_that_does_not_quote_it() -> None:
    """Errors are logged, and keys must not be."""
    with pytest.raises(ValueError, match="key must be") as caught:
        Ingest("http://127.0.0.1", "secret\n")

    assert "secret" not in str(caught.value)
