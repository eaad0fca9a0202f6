"""How the fuzzer reads what comes back, and what it calls a leak."""

import re

import pytest

from fuzz.answers import Malformed, answers_of
from fuzz.health import Health, Reading


def test_answers_behind_each_other_are_distinguished() -> None:
    """By their lengths, by chunks, and without a body."""
    received = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}"
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 99\r\n\r\ncut"
    )

    assert [(one.status, one.body) for one in answers_of(received)] == [
        (202, b"{}"),
        (204, b""),
        (200, b"abc"),
        (400, b"cut"),
    ]


def test_what_is_no_answer_is_a_finding() -> None:
    """Half an answer in the middle, say."""
    with pytest.raises(Malformed):
        answers_of(b"HTTP/1.1 204 No Content\r\n\r\ngarbage")


@pytest.mark.parametrize(
    ("head", "is_fault"),
    [
        (b"HTTP/1.1 500 Internal Server Error", True),
        (b"HTTP/1.1 503 Service Unavailable", True),
        (b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1", False),
        (b"HTTP/1.1 502 Bad Gateway\r\nretry-after: 1", True),
        (b"HTTP/1.1 422 Unprocessable Content", False),
    ],
)
def test_only_a_503_with_a_retry_after_is_documented(head: bytes, is_fault: bool) -> None:  # noqa: FBT001
    """Every other 5xx is what the fuzzer looks for."""
    (answer,) = answers_of(head + b"\r\ncontent-length: 0\r\n\r\n")

    assert answer.is_fault is is_fault


def _health(*sizes: int, files: int = 9) -> Health:
    readings = [Reading(size << 20, files, {}) for size in sizes]
    return Health(1, "http://127.0.0.1", re.compile("x"), readings)


def test_memory_that_grows_after_the_warm_up_is_a_leak() -> None:
    """And memory that is taken once, at the beginning, is none."""
    assert _health(*range(100, 300, 10)).complaint() == "memory grew from 155 to 275 MiB"
    assert _health(100, 150, *[200] * 18).complaint() is None


def test_files_that_stay_open_are_a_leak() -> None:
    """A connection that is never closed, say."""
    health = _health(*[100] * 20)
    health.readings[-4:] = [Reading(100 << 20, 60, {})] * 4

    assert health.complaint() == "files grew from 9 to 60"
