"""Where `afterword up` shows its progress: a live view on a terminal, else plain lines, and a log file."""

import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from services.local.core.kafka_config import LOOPBACK
from services.local.core.views import StackView, draw_stack
from services.local.settings import LocalSettings
from services.local.supervisor import Reporter

_PLAIN_STEPS = 4


class Journal:
    """Passes messages on, and appends all of them to a log file."""

    def __init__(self, reporter: Reporter, file: Path) -> None:
        self._reporter, self._file = reporter, file

    def report(self, line: str) -> None:
        """Keep a line and pass it on."""
        self._keep(line)
        self._reporter.report(line)

    def record(self, line: str) -> None:
        """Keep a line and pass it on."""
        self._keep(line)
        self._reporter.record(line)

    def _keep(self, line: str) -> None:
        # On a full disk lines are still passed on, and parts still stop in order.
        with suppress(OSError), self._file.open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')}  {line}\n")


class Screen(Reporter, Protocol):
    """Shows lines, which stay, and the state of the stack, which is replaced by the next."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def show(self, view: StackView) -> None:
        """Show the newest state."""

    def ready(self, seconds: float, lines: tuple[str, ...]) -> None:
        """Show that all is ready after `seconds`, and `lines` on what to do next."""


class PlainScreen:
    """Plain lines, for logs and scripts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._quarter = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End."""

    def report(self, line: str) -> None:
        """Print a line with the time of day."""
        self._print(f"{time.strftime('%H:%M:%S')}  {line}")

    def record(self, line: str) -> None:
        """Print routine messages too, since no view shows them."""
        self.report(line)

    def ready(self, seconds: float, lines: tuple[str, ...]) -> None:  # noqa: ARG002 (each line has its time)
        """Print `ready` on a line of its own, which scripts wait for, then `lines`."""
        for line in ("ready", *lines):
            self._print(line)

    def show(self, view: StackView) -> None:
        """Print a line for each quarter of a download."""
        if view.download is None:
            return
        done, total = view.download
        quarter = done * _PLAIN_STEPS // total
        if quarter > self._quarter:
            self._quarter = quarter
            self.report(f"kafka: fetched {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    def _print(self, line: str) -> None:
        # Not wrapped, so that it can be copied.
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)


class LiveScreen(PlainScreen):
    """A view that is redrawn in place below the lines that stay."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Begin."""
        self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave the last view on the terminal."""
        self._live.stop()

    def record(self, line: str) -> None:
        """Print nothing: the view shows it."""

    def ready(self, seconds: float, lines: tuple[str, ...]) -> None:
        """Print the time that it took, then `lines`."""
        for line in ("", f"Afterword is ready after {seconds:.1f} s.", "", *lines, ""):
            self._print(line)

    def show(self, view: StackView) -> None:
        """Redraw the view."""
        self._live.update(draw_stack(view), refresh=True)


def screen(console: Console) -> Screen:
    """Return a live view for a terminal, plain lines for anything else."""
    redraws = console.is_terminal and not console.is_dumb_terminal
    return LiveScreen(console) if redraws else PlainScreen(console)


def greeting(
    settings: LocalSettings, *, home: str, with_keys: bool, parts: frozenset[str]
) -> tuple[str, ...]:
    """Return the lines shown once the stack is ready: addresses, and commands to try.

    `with_keys`: requests need an API key.
    """
    ingest = f"http://{LOOPBACK}:{settings.ingest_port}"
    sql = f"http://{LOOPBACK}:{settings.clickhouse_port}"
    addresses = [
        ("feedback", f"{ingest}  (API: {ingest}/docs)", "ingest" in parts),
        ("dashboard", f"http://{LOOPBACK}:{settings.query_port}", "query" in parts),
        ("SQL", f"{sql}  (ClickHouse's HTTP interface, database {settings.clickhouse_database})", True),
        ("Kafka", f"{LOOPBACK}:{settings.kafka_port}", True),
        ("data, logs", home, True),
    ]
    key = ' -H "Authorization: Bearer $AFTERWORD_KEY"' if with_keys else ""
    body = """'{"data": {"rating": 5, "comment": "Spot on"}}'"""
    json = "-H 'Content-Type: application/json'"
    query = "'SELECT * FROM feedback FORMAT Vertical'"
    tries = [
        "",
        "Try it:",
        f"  curl {ingest}/feedback/chatcmpl-1{key} {json} -d {body}",
        f"  curl '{sql}/?database={settings.clickhouse_database}' -d {query}",
        "",
        "Ctrl-C stops everything in order; the data stays for the next start.",
    ]
    return (*(f"  {name:<11} {address}" for name, address, is_installed in addresses if is_installed), *tries)
