"""From which generation to which, and what is said of it."""

import pytest

from services.operations.resize.core.plan import ResizeReport, plan, plan_lines, report_lines
from services.pipeline.core.generation_states import Generation, GenerationState

OPEN, CLOSED, NEW = GenerationState.OPEN, GenerationState.CLOSED, GenerationState.NEW


@pytest.mark.parametrize(
    ("found", "taken", "anew", "to", "abandoned"),
    [
        ([(0, OPEN, 4)], [0], False, 2, ()),
        ([(0, OPEN, 4), (2, NEW, 8)], [0, 2], False, 2, ()),
        ([(0, OPEN, 4), (2, NEW, 6)], [0, 2], False, 3, (2,)),
        ([(0, OPEN, 4), (2, NEW, 8)], [0, 2], True, 3, (2,)),
        ([(0, CLOSED, 4), (2, NEW, 8)], [0, 2], False, 2, ()),
        ([(0, CLOSED, 4), (2, OPEN, 4)], [0, 2], False, 3, ()),
        ([(0, CLOSED, 4), (2, OPEN, 8), (3, NEW, 4)], [0, 2, 3], False, 2, (3,)),
        ([(0, OPEN, 4)], [0, 5], False, 6, ()),
        ([(0, OPEN, 8)], [0], False, 0, ()),
    ],
)
def test_the_way_leads_to_a_number_that_was_never_used(
    found: list[tuple[int, GenerationState, int]],
    taken: list[int],
    anew: bool,  # noqa: FBT001 (a case of the table)
    to: int,
    abandoned: tuple[int, ...],
) -> None:
    """Or to the half-made generation that is the newest; nothing moves to as many partitions as there are."""
    wanted = plan([Generation(*one) for one in found], taken, 8, anew=anew)
    assert wanted is not None
    assert (wanted.to, tuple(wanted.abandoned)) == (to, abandoned)
    assert wanted.is_needed == (to != wanted.from_.number)


def test_without_topics_there_is_no_way() -> None:
    """They are the work of another command."""
    assert plan([], [], 8, anew=False) is None


def test_an_abandoned_generation_is_named_beside_the_plan() -> None:
    """Its topics hold copies of states that nobody reads."""
    found = [Generation(0, OPEN, 4), Generation(2, NEW, 6)]
    wanted = plan(found, [0, 2], 8, anew=False)
    assert wanted is not None
    told = "\n".join(plan_lines(wanted))
    assert "From generation 0 (4 partitions) to 3 (8)" in told
    assert "feedback-state-v3" in told
    assert "Generation 2 was made and never opened" in told


def test_the_report_names_the_pause_and_what_to_restart() -> None:
    """A service that names its generation stays where it is until somebody acts."""
    report = ResizeReport(
        from_=0, to=2, partitions=8, keys=1234, copied=1300, pause_seconds=2.345, pause_is_whole=True,
        absent=("feedback-merger-v2",),
    )  # fmt: skip
    told = "\n".join(report_lines(report))
    assert "1,234 keys are equal in both. Ingest paused for 2.3 s." in told
    assert "feedback-state can be deleted now" in told
    assert "No consumer is in feedback-merger-v2 yet" in told
    assert report.as_json()["from"] == 0
