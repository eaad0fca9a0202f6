"""Exporting rows over HTTP, resumed behind the last whole row after a cut."""

import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx
from rich.console import Console

from services.operations.core.answers import RequestRefused, RetryLater, refused_export
from services.operations.destination import IS_IT_RUNNING, is_here, shown
from services.operations.exits import CommandError, UnreachableError, UsageError
from services.operations.export.core.query import ExportQuery
from services.operations.export.core.records import RECORDS, Records, StrangeAnswerError
from services.operations.export.output import ExportMark, ExportTarget, PartialFile, StandardOutput
from services.operations.http_client import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, OutageLimit
from services.operations.progress import ProgressBar
from services.runtime.retry import delays

PATH = "/v1/feedback/export"
ROWS_HEADER = "afterword-rows"
CONNECT_SECONDS, SILENCE_SECONDS = 5.0, 600.0
"""ClickHouse may read many rows before it finds one that matches."""
MOST_STARTS = 5
"""Of a file that cannot be resumed: Parquet."""
RESUME = "Run the same command again to resume."
_errors = Console(stderr=True)


class ExportOptions(NamedTuple):
    """How to export; `patience` in seconds."""

    url: str
    key: str | None
    restart: bool
    patience: float


class ExportResult(NamedTuple):
    """The result: `rows` and `bytes` of the whole file, `seconds` of this call."""

    file: str
    format: str
    rows: int
    bytes: int
    seconds: float

    def sentence(self) -> str:
        """Return the result as text."""
        return f"{self.file}: {self.rows:,} rows, {size(self.bytes)}, in {self.seconds:.1f} s"


def export(path: Path | None, query: ExportQuery, options: ExportOptions) -> ExportResult:
    """Export the rows of a query to a file, or to standard output if `path` is None; CommandError."""
    _check(query, path)
    return _to_file(path, query, options) if path else _to_output(query, options)


def _check(query: ExportQuery, path: Path | None) -> None:
    if query.bom and query.format != "csv":
        raise UsageError("--bom is for CSV only")
    if path is None and query.format == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet cannot be printed on a terminal; name a file")
    if path is not None and path.is_dir():
        raise UsageError(f"{path} is a directory; name a file in it")
    if path is not None and path.exists() and not path.is_file():
        # The finished file would replace it: `/dev/null` would be a file from then on.
        raise UsageError(f"{path} is not a regular file; use - and redirect standard output")


def _to_output(query: ExportQuery, options: ExportOptions) -> ExportResult:
    return _run("standard output", query, StandardOutput(), options)


def _to_file(path: Path, query: ExportQuery, options: ExportOptions) -> ExportResult:
    request = {
        "url": options.url,
        "format": query.format,
        "parameters": [list(pair) for pair in query.parameters("", 0)],
    }
    with PartialFile(path, request).opened(restart=options.restart) as target:
        try:
            result = _run(str(path), query, target, options)
        except KeyboardInterrupt:
            _errors.print(f"\n{path}: stopped.  {RESUME}", markup=False, highlight=False)
            raise
        target.finish()
        return result


def _run(name: str, query: ExportQuery, target: ExportTarget, options: ExportOptions) -> ExportResult:
    waiting = OutageLimit(options.patience, time.monotonic)
    with client_for(options.url, options.key) as client, ProgressBar(name, None, _errors) as report:
        if target.mark.rows:
            report.say(f"{name}: resumes behind {target.mark.rows:,} rows")
        try:
            ExportTransfer(client, query, target, report, waiting).run()
        except UnreachableError as error:
            raise UnreachableError(f"{error}\n{RESUME if waiting.reached else IS_IT_RUNNING}") from error
        return ExportResult(name, query.format, target.mark.rows, target.mark.size, report.seconds)


def client_for(url: str, key: str | None) -> httpx.Client:
    """Return a client of the query service at `url`; proxies are not used for this machine."""
    return httpx.Client(
        base_url=url,
        headers={
            **({"Authorization": f"Bearer {key}"} if key else {}),
            # On the same machine compression costs more time than it saves.
            "Accept-Encoding": "identity" if is_here(url) else "gzip",
        },
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        trust_env=not is_here(url),
    )


class ExportTransfer:
    """Transfers one export to one target."""

    def __init__(
        self,
        client: httpx.Client,
        query: ExportQuery,
        target: ExportTarget,
        report: ProgressBar,
        patience: OutageLimit,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._query, self._target = client, query, target
        self._report, self._patience, self._pause = report, patience, pause
        self._where = shown(str(client.base_url))

    def run(self) -> None:
        """Return once every row is written; CommandError."""
        pauses, rows = _pauses(), self._target.mark.rows
        for number in count(1):
            outcome = self._transfer()
            if outcome is None:
                return
            if isinstance(outcome, RequestRefused):
                raise UsageError(outcome.why)
            self._patience.check(outcome)
            if not self._query.is_resumable and number >= MOST_STARTS:
                raise UnreachableError(f"{outcome.why}, {number} times")
            if self._target.mark.rows > rows:
                pauses, rows = _pauses(), self._target.mark.rows
            seconds = max(next(pauses), outcome.after_seconds)
            self._report.waiting(outcome.why, seconds)
            self._pause(seconds)

    def _transfer(self) -> RetryLater | RequestRefused | None:
        """Request the missing rows; None if there are none any more."""
        if not self._query.is_resumable:
            self._target.restart()
        mark = self._target.mark
        if self._query.limit is not None and mark.rows >= self._query.limit:
            return None
        parameters = self._query.parameters(mark.last, mark.rows)
        try:
            with self._client.stream("GET", PATH, params=parameters) as answer:
                if answer.status_code == HTTPStatus.OK and ROWS_HEADER in answer.headers:
                    return self._take(answer, RECORDS[self._query.format](resumed=mark.size > 0))
                body, retry_after = answer.read(), answer.headers.get("Retry-After")
                return refused_export(answer.status_code, retry_after, body)
        except httpx.ConnectError as error:
            return RetryLater(f"nothing answers at {self._where} ({error})", reached=False)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return RetryLater(
                f"the transfer from {self._where} was cut ({str(error) or type(error).__name__})"
            )
        except StrangeAnswerError as error:
            raise CommandError(f"the response of {self._where} is not an export: {error}") from error

    def _show(self, mark: ExportMark) -> None:
        rows = f"{mark.rows:,} rows, " if mark.rows else ""
        self._report.show(mark.rows, f"{rows}{size(mark.size)}")

    def _take(self, answer: httpx.Response, records: Records) -> RetryLater | None:
        before = self._target.mark.rows
        self._report.expect(before + int(answer.headers[ROWS_HEADER]))
        for piece in answer.iter_bytes():
            self._patience.settled()
            if whole := records.feed(piece):
                self._target.add(whole, before + records.rows, records.last)
                self._show(self._target.mark)
        trailer = records.trailer
        if trailer is None:
            return RetryLater(f"the transfer from {self._where} ended early")
        if trailer.rows != records.rows:
            raise CommandError(f"the server sent {trailer.rows:,} rows, {records.rows:,} arrived")
        return None


def _pauses() -> Iterator[float]:
    return delays(first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)


def size(count: int) -> str:
    """Return a number of bytes as text."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"
