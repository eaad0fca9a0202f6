"""Where `afterword up` reports."""

import io
from pathlib import Path

from rich.console import Console

from services.local.core.supervision import PartState, Phase
from services.local.core.views import PartRow, StackView
from services.local.screens import Journal, LiveScreen, PlainScreen, screen

LONG = "curl http://127.0.0.1:8080/feedback/chatcmpl-1 " + "x" * 200


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    """Return a console of 80 columns and what it prints to."""
    file = io.StringIO()
    return Console(file=file, width=80, force_terminal=terminal, legacy_windows=False), file


def fetching(done: int) -> StackView:
    """Return the view of a download."""
    return StackView((PartRow("kafka", PartState(Phase.STARTING), None, 1.0),), download=(done, 40_000_000))


def test_a_script_sees_ready_once_as_a_line_of_its_own() -> None:
    """And everything else that can be known, line by line."""
    target, file = console(terminal=False)
    with screen(target) as plain:
        plain.record("kafka: starting")
        plain.show(fetching(19_000_000))
        plain.show(fetching(19_100_000))
        plain.ready(3.2, (LONG,))

    lines = file.getvalue().splitlines()
    assert isinstance(plain, PlainScreen)
    assert lines[0].endswith("  kafka: starting")
    assert [line for line in lines if "fetched" in line] == [lines[1]]
    assert lines[2:] == ["ready", LONG]


def test_a_terminal_shows_a_view_and_lines_that_can_be_copied() -> None:
    """What goes as expected is in the view alone; a long line is not broken into two."""
    target, file = console(terminal=True)
    with screen(target) as live:
        live.record("kafka: starting")
        live.report("merger: killed by SIGKILL")
        live.show(fetching(10_000_000))
        live.ready(3.2, (LONG,))

    shown = file.getvalue()
    assert isinstance(live, LiveScreen)
    assert "kafka: starting" not in shown
    assert "merger: killed by SIGKILL" in shown
    assert "fetching 10 of 40 MB" in shown
    assert "Afterword is ready after 3.2 s." in shown
    assert LONG in shown


def test_the_journal_keeps_what_the_terminal_does_not(tmp_path: Path) -> None:
    """Whoever comes later reads why a part was started again."""
    target, file = console(terminal=False)
    journal = Journal(PlainScreen(target), tmp_path / "up.log")
    journal.record("kafka: starting")
    journal.report("kafka: killed by SIGKILL")

    kept = [line.partition("  ")[2] for line in (tmp_path / "up.log").read_text().splitlines()]
    assert kept == ["kafka: starting", "kafka: killed by SIGKILL"]
    assert len(file.getvalue().splitlines()) == 2


def test_a_journal_on_a_full_disk_still_passes_lines_on() -> None:
    """Whoever stops parts in order says so, and must not be stopped by that."""
    target, file = console(terminal=False)
    Journal(PlainScreen(target), Path("/dev/full")).report("kafka: stopping")

    assert "kafka: stopping" in file.getvalue()
