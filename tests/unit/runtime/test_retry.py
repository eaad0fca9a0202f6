"""Retries return the first result, report each failure, and pause longer and longer."""

from itertools import islice

import pytest

from services.runtime.retry import delays, retry


def test_delays_double_up_to_the_longest() -> None:
    """And stay there for ever."""
    assert list(islice(delays(0.1, 1.0), 6)) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


class Server:
    """Fails with these errors, one for each attempt, then answers; sleeping takes no time."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.slept: list[float] = []

    async def attempt(self) -> str:
        """Return an answer, or fail."""
        if self._errors:
            raise self._errors.pop(0)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        """Note the pause."""
        self.slept.append(seconds)


async def test_an_attempt_is_repeated_after_the_expected_errors_until_it_succeeds() -> None:
    """Each error is reported, before its pause."""
    errors: list[Exception] = [OSError("away"), TimeoutError("slow")]
    server, failed = Server(*errors), list[Exception]()

    result = await retry(server.attempt, (OSError,), delays(0.1), failed.append, server.sleep)

    assert (result, failed, server.slept) == ("answer", errors, [0.1, 0.2])


async def test_a_success_at_once_takes_no_pause() -> None:
    """Not even the first of the pauses is taken, so that each may depend on the failure before it."""
    server, pauses = Server(), delays(0.1)

    assert await retry(server.attempt, (OSError,), pauses, sleep=server.sleep) == "answer"

    assert next(pauses) == 0.1


async def test_other_errors_are_raised_at_once() -> None:
    """A mistake in the code is not an outage."""
    server, failed = Server(KeyError("a bug")), list[Exception]()

    with pytest.raises(KeyError):
        await retry(server.attempt, (OSError,), delays(), failed.append, server.sleep)

    assert (failed, server.slept) == ([], [])


async def test_the_last_error_is_raised_when_the_pauses_end() -> None:
    """As a command without patience does."""
    server = Server(OSError("first"), OSError("second"), OSError("third"))

    with pytest.raises(OSError, match="second"):
        await retry(server.attempt, (OSError,), iter([0.5]), sleep=server.sleep)

    assert server.slept == [0.5]
