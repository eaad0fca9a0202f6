"""Runs the local stack once, from the checks before the start until the last part has stopped."""

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from services.local.core.flow import FlowRates
from services.local.core.views import PartRow, StackView
from services.local.home import Home
from services.local.orphans import check_ports, end_orphans
from services.local.runners import PartRunner, part_runners
from services.local.screens import Journal, Screen, greeting, screen
from services.local.settings import LocalSettings
from services.local.supervisor import Supervisor

if TYPE_CHECKING:
    from services.local.gauge import Gauge

_SHOW_SECONDS = 0.5
_OWN = "up"
"""The supervisor's name among the logs."""


class DownloadStoppedError(Exception):
    """Raised inside a download when the stack is to stop."""


async def run(
    settings: LocalSettings, environ: Mapping[str, str], console: Console, *, recover: bool = False
) -> bool:
    """Run the stack until a signal stops it, and return whether all parts stopped in order.

    `recover`: records that Kafka lost are restored from ClickHouse first.

    HomeError and PortTakenError before any part starts; JarsError, BrokerError and PartFailedError after all
    parts have stopped.  Call it in the main thread.
    """
    home = Home(settings.afterword_home)
    home.make()
    with home.owned():
        return await _StackRun(settings, home, environ, screen(console), recover=recover).run()


class _StackRun:
    def __init__(
        self,
        settings: LocalSettings,
        home: Home,
        environ: Mapping[str, str],
        output: Screen,
        *,
        recover: bool,
    ) -> None:
        self._settings, self._home, self._screen = settings, home, output
        self._reporter = Journal(output, home.log(_OWN))
        self._stopping, self._hurry, self._ready = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._download: tuple[int, int] | None = None
        self._runners: tuple[PartRunner, ...] = part_runners(
            settings, home, environ, self._downloaded, recover=recover
        )
        self._supervisor = Supervisor(self._runners, home, self._reporter)
        self._urls = {runner.part.name: runner.url for runner in self._runners}
        self._gauge: Gauge | None = None
        self._began = time.monotonic()

    async def run(self) -> bool:
        self._home.bound_log(_OWN)
        with self._screen, self._signals():
            if orphans := end_orphans(self._home):
                self._reporter.report(
                    f"killed orphaned processes of an earlier run: {', '.join(map(str, orphans))}"
                )
            check_ports(self._runners)
            drawing = asyncio.create_task(self._draw(), name="draw")
            reading = asyncio.create_task(self._read(), name="read figures")
            try:
                await self._supervisor.run(self._stopping)
            finally:
                await _cancelled(reading)
                await self._supervisor.stop(self._hurry)
                await _cancelled(drawing)
                self._screen.show(self._view())
        self._reporter.report(f"stopped; the data stays in {self._home.path} for the next start")
        return not self._hurry.is_set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)  # under nohup, the end of the terminal does not stop the stack
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._reporter.report("stopping at once")
            self._hurry.set()
        else:
            self._reporter.report("stopping in order; a second signal stops at once")
            self._stopping.set()

    def _downloaded(self, done: int, total: int) -> None:
        """Store a download's progress.  Called in its threads, which the error ends when the stack stops."""
        if self._stopping.is_set():
            raise DownloadStoppedError
        self._download = (done, total) if done < total else None

    async def _read(self) -> None:
        """Read figures once all parts are ready."""
        await self._ready.wait()
        # Imported here because it takes a second of processor time, which the starting parts need.
        from services.local.gauge import Gauge  # noqa: PLC0415

        self._gauge = Gauge(self._settings)
        await self._gauge.run()

    async def _draw(self) -> None:
        """Update the screen, and show the greeting when all parts are ready first."""
        while True:
            self._screen.show(self._view())
            if self._supervisor.is_ready and not self._ready.is_set():
                self._ready.set()
                self._greet()
            await asyncio.sleep(_SHOW_SECONDS)

    def _greet(self) -> None:
        lines = greeting(
            self._settings,
            home=str(self._home.path),
            with_keys=self._settings.keys_file.exists(),
            parts=frozenset(self._supervisor.states),
        )
        self._screen.ready(time.monotonic() - self._began, lines)

    def _view(self) -> StackView:
        now = time.monotonic()
        return StackView(
            parts=tuple(
                PartRow(name, state, self._supervisor.pid(name), now - state.started, self._urls[name])
                for name, state in self._supervisor.states.items()
            ),
            flow=self._gauge.flow if self._gauge else None,
            rates=self._gauge.rates if self._gauge else FlowRates(),
            download=self._download,
        )


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end.  Raises the task's own error."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
