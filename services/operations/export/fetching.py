"""Fetch an export over HTTP, again from the last whole row whenever the transfer is cut."""

import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from itertools import count
from typing import Protocol

import httpx

from services.operations.destination import is_here, shown
from services.operations.exits import CommandError, UnreachableError, UsageError
from services.operations.export.core.answers import refusal_of
from services.operations.export.core.query import Asked
from services.operations.export.core.records import RECORDS, Records, StrangeAnswerError
from services.operations.export.target import Mark, Target
from services.operations.send.core.answers import Again, Refused
from services.operations.send.lanes import Patience
from services.runtime.core.backoff import delays

PATH = "/v1/feedback/export"
ROWS_HEADER = "afterword-rows"
CONNECT_SECONDS, SILENCE_SECONDS = 5.0, 600.0
"""ClickHouse may look through many rows before it finds one."""
MOST_STARTS = 5
"""Of a file that cannot be gone on with."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0


class Report(Protocol):
    """Is told what happens, in order to show it."""

    def expected(self, rows: int) -> None:
        """So many rows there will be, as the server counted them."""

    def moved(self, mark: Mark) -> None:
        """The file is so far."""

    def waiting(self, why: str, seconds: float) -> None:
        """It is asked again after so many seconds."""


def client_for(url: str, key: str | None) -> httpx.Client:
    """Return a client of the query service at `url`."""
    return httpx.Client(
        base_url=url,
        headers={
            **({"Authorization": f"Bearer {key}"} if key else {}),
            # On this machine compression takes longer than what it saves.
            "Accept-Encoding": "identity" if is_here(url) else "gzip",
        },
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        trust_env=not is_here(url),
    )


class Fetch:
    """One export into one target."""

    def __init__(
        self,
        client: httpx.Client,
        asked: Asked,
        target: Target,
        report: Report,
        patience: Patience,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._asked, self._target = client, asked, target
        self._report, self._patience, self._pause = report, patience, pause
        self._where = shown(str(client.base_url))

    def run(self) -> None:
        """Return once every row is there; raise CommandError."""
        pauses, rows = _pauses(), self._target.mark.rows
        for number in count(1):
            outcome = self._transfer()
            if outcome is None:
                return
            if isinstance(outcome, Refused):
                raise UsageError(outcome.why)
            self._patience.check(outcome)
            if not self._asked.goes_on and number >= MOST_STARTS:
                raise UnreachableError(f"{outcome.why}, {number} times")
            if self._target.mark.rows > rows:
                pauses, rows = _pauses(), self._target.mark.rows
            seconds = max(next(pauses), outcome.after_seconds)
            self._report.waiting(outcome.why, seconds)
            self._pause(seconds)

    def _transfer(self) -> Again | Refused | None:
        """Ask for what is missing; None once nothing is."""
        if not self._asked.goes_on:
            self._target.again()
        mark = self._target.mark
        if self._asked.limit is not None and mark.rows >= self._asked.limit:
            return None
        asked = self._asked.parameters(mark.last, mark.rows)
        try:
            with self._client.stream("GET", PATH, params=asked) as answer:
                if answer.status_code == HTTPStatus.OK and ROWS_HEADER in answer.headers:
                    return self._take(answer, RECORDS[self._asked.format](goes_on=mark.size > 0))
                body, retry_after = answer.read(), answer.headers.get("Retry-After")
                return refusal_of(answer.status_code, retry_after, body)
        except httpx.ConnectError as error:
            return Again(f"nothing answers at {self._where} ({error})", reached=False)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Again(f"the transfer from {self._where} was cut ({str(error) or type(error).__name__})")
        except StrangeAnswerError as error:
            raise CommandError(f"what came from {self._where} is no export: {error}") from error

    def _take(self, answer: httpx.Response, records: Records) -> Again | None:
        before = self._target.mark.rows
        self._report.expected(before + int(answer.headers[ROWS_HEADER]))
        for piece in answer.iter_bytes():
            self._patience.settled()
            if whole := records.feed(piece):
                self._target.add(whole, before + records.rows, records.last)
                self._report.moved(self._target.mark)
        ending = records.ending
        if ending is None:
            return Again(f"the transfer from {self._where} ended before its end")
        if ending.rows != records.rows:
            raise CommandError(f"the server says that it sent {ending.rows:,} rows; {records.rows:,} came")
        return None


def _pauses() -> Iterator[float]:
    return delays(first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
