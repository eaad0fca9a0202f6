"""Where `afterword up` reports: a live view on a terminal, plain lines elsewhere."""

import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from services.local.core.picture import Picture
from services.local.core.view import draw
from services.local.supervisor import Voice

_PLAIN_STEPS = 4


class Journal:
    """Passes on what is said, and keeps all of it in a file, where it outlives the terminal."""

    def __init__(self, voice: Voice, file: Path) -> None:
        self._voice, self._file = voice, file

    def say(self, line: str) -> None:
        """Keep a line and pass it on."""
        self._keep(line)
        self._voice.say(line)

    def note(self, line: str) -> None:
        """Keep a line and pass it on."""
        self._keep(line)
        self._voice.note(line)

    def _keep(self, line: str) -> None:
        # On a full disk the line is still passed on, and the parts are still stopped in order.
        with suppress(OSError), self._file.open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')}  {line}\n")


class Screen(Voice, Protocol):
    """Takes lines that stay, and pictures of which the newest counts."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def show(self, picture: Picture) -> None:
        """Show the newest picture."""

    def ready(self, seconds: float, lines: tuple[str, ...]) -> None:
        """Say that all is ready after so many seconds, and what can be done now."""


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

    def say(self, line: str) -> None:
        """Print a line with the time of day."""
        self._print(f"{time.strftime('%H:%M:%S')}  {line}")

    def note(self, line: str) -> None:
        """Print what goes as expected, too: there is no view that shows it."""
        self.say(line)

    def ready(self, seconds: float, lines: tuple[str, ...]) -> None:  # noqa: ARG002 (the times say it)
        """Print `ready`, a line of its own that scripts wait for, and then the rest."""
        for line in ("ready", *lines):
            self._print(line)

    def show(self, picture: Picture) -> None:
        """Print a line for each quarter of a download."""
        if picture.download is None:
            return
        done, total = picture.download
        quarter = done * _PLAIN_STEPS // total
        if quarter > self._quarter:
            self._quarter = quarter
            self.say(f"kafka: fetched {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    def _print(self, line: str) -> None:
        # Whole however long it is, such that it can be copied.
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
        """Leave the last view standing."""
        self._live.stop()

    def note(self, line: str) -> None:
        """Leave it to the view."""

    def ready(self, seconds: float, lines: tuple[str, ...]) -> None:
        """Print after how long it was ready, and then the rest."""
        for line in ("", f"Afterword is ready after {seconds:.1f} s.", "", *lines, ""):
            self._print(line)

    def show(self, picture: Picture) -> None:
        """Redraw the view."""
        self._live.update(draw(picture), refresh=True)


def screen(console: Console) -> Screen:
    """Return the screen that fits where the output goes."""
    redraws = console.is_terminal and not console.is_dumb_terminal
    return LiveScreen(console) if redraws else PlainScreen(console)
