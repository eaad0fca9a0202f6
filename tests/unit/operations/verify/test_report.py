"""The report as text and as JSON."""

from services.operations.verify.core.report import TEXTS, VerifyFinding, VerifyReport, as_json, lines
from services.operations.verify.core.selection import VerifySelection
from services.operations.verify.core.snapshot import KnownGeneration, LogSnapshot
from services.pipeline.core.continuity import LogRange
from services.reconciliation.core.remedies import DiffKind, command

CUT = LogSnapshot(
    generations=(KnownGeneration(0, 1, is_here=True),),
    in_use=0,
    merged={("feedback-events", 0): 7},
    logs={("feedback-events", 0): LogRange(2, 10)},
)


def test_a_difference_is_reported_with_its_offsets_and_what_fixes_it() -> None:
    """Offsets as stretches, keys without anything that a terminal would obey."""
    report = VerifyReport()
    report.add(
        VerifyFinding(DiffKind.EVENT_MISSING, b"acme/r\x1b[2J%d" % offset, "", "feedback-events", 0, offset)
        for offset in (3, 4, 5, 4, 9, 3)  # the walk and the judge may find the same one
    )
    told = [*lines(report, CUT, VerifySelection())]

    assert told[-7] == "event_missing: feedback-events/0: 4 events of the log are not in feedback_events"
    assert told[-6] == "  offsets 3 to 5, 9"
    assert told[-5] == "  acme/r\ufffd[2J3"
    assert told[-1] == "  To mend it: afterword rebuild --table events --tenant acme"


def test_what_is_on_its_way_is_reported_and_is_no_difference() -> None:
    """And whether anybody is there to bring it."""
    told = [*lines(VerifyReport(), CUT, VerifySelection())]

    assert told[1].startswith(
        "On their way, and not compared: up to 3 events wait for the merger; no consumer"
    )
    assert told[-1] == "No differences."
    assert as_json(VerifyReport(), CUT, VerifySelection())["on_its_way"]["merger"] == 3


def test_a_command_is_narrowed_to_the_only_tenant() -> None:
    """And to none if several are concerned."""
    assert command(DiffKind.ROW_MISSING, {"acme"}) == "afterword rebuild --table state --tenant acme"
    assert command(DiffKind.ROW_MISSING, {"acme", "other"}) == "afterword rebuild --table state"


def test_every_kind_has_its_words_and_its_command() -> None:
    """None is left without either."""
    assert set(TEXTS) == set(DiffKind)
    assert all(command(kind).startswith("afterword ") for kind in DiffKind)


def test_a_finding_of_another_module_keeps_its_text() -> None:
    """What `migrate` or a service would say, with its own command."""
    report = VerifyReport()
    report.add_reported(DiffKind.POSITION, "Offset 9 is beyond the log's end.", "begin a new generation")
    ((difference, mend),) = report.with_commands()

    assert difference.examples[0].detail == "Offset 9 is beyond the log's end."
    assert mend == "begin a new generation"
    assert "position: Offset 9 is beyond the log's end." in lines(report, CUT, VerifySelection())
