"""A library that cannot reach its server fills no disk with it."""

import logging
from collections.abc import Callable

import pytest

from services.runtime.logs import RepeatFilter


class Heard(logging.Handler):
    """Keeps what is shown: the message, and how often it was held back before."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append((record.getMessage(), getattr(record, "repeated", 0)))


@pytest.fixture
def now() -> list[float]:
    """Return the time in seconds, which a test may change."""
    return [0.0]


@pytest.fixture
def heard(now: list[float]) -> Heard:
    """Return a handler that holds back what the library `chatty` repeats within ten seconds."""
    handler = Heard()
    handler.addFilter(RepeatFilter("chatty", 10, lambda: now[0]))
    return handler


def logger(name: str, handler: logging.Handler) -> logging.Logger:
    """Return a logger that has this handler only."""
    found = logging.getLogger(name)
    found.handlers, found.propagate = [handler], False
    return found


def unreachable(library: logging.Logger, node: int) -> None:
    """Log from one place of the code."""
    library.error("no connection to node %s", node)


def test_a_line_of_code_logs_once_per_interval_with_the_number_of_repeats(
    heard: Heard, now: list[float]
) -> None:
    """However many attempts there are."""
    library = logger("chatty.client", heard)
    for second in (0, 1, 9, 10, 11, 30):
        now[0] = second
        unreachable(library, second)

    assert heard.lines == [
        ("no connection to node 0", 0),
        ("no connection to node 10", 2),
        ("no connection to node 30", 1),
    ]


@pytest.mark.parametrize("speak", [lambda library: library.error("other"), lambda library: library.info("x")])
def test_another_place_is_another_matter(heard: Heard, speak: Callable[[logging.Logger], None]) -> None:
    """What it says elsewhere may be something new."""
    library = logger("chatty.client", heard)
    library.setLevel(logging.INFO)
    unreachable(library, 1)
    speak(library)

    assert len(heard.lines) == 2


def test_other_loggers_are_not_held_back(heard: Heard) -> None:
    """The filter is on the handler of the whole process."""
    ours = logger("chattyness", heard)
    for node in range(3):
        unreachable(ours, node)

    assert [held for _, held in heard.lines] == [0, 0, 0]
