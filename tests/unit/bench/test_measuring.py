"""Stage after stage: what is written down, and what becomes of one that fails."""

import io

import pytest
from rich.console import Console

from bench import catalogue
from bench.__main__ import main
from bench.measuring import Plan, measure_all
from bench.run import Run
from bench.stages import QUICK, STAGES, Figure, Measure, Say, Size, Stack, compared
from bench.terminal import Terminal

EMPTY = Run(quick=True, machine={}, versions={})


class BrokenError(Exception):
    """What a stage raises here."""


def stage(name: str) -> Measure:
    """Return a stage that finds the number of its rounds; that of the merger fails."""

    async def measure(size: Size, _stack: Stack, say: Say) -> list[Figure]:
        say(f"measuring {name}")
        if name == "merger":
            raise BrokenError("a contender ended")
        return [compared(name, "rounds", "", [size.rounds])]

    return measure


async def measured(*stages: str, is_recorded: bool = True) -> tuple[Run, list[str], list[Run], str]:
    """Measure; the run, what failed, what was written, what was printed."""
    output, written = io.StringIO(), list[Run]()
    plan = Plan([*stages], QUICK, [], is_recorded=is_recorded)
    with Terminal(Console(file=output, width=100), plan.budget) as terminal:
        run, failed = await measure_all(plan, EMPTY, terminal, find=stage, write=written.append)
    return run, failed, written, output.getvalue()


async def test_each_stage_is_written_down_as_soon_as_it_is_done() -> None:
    """An hour of stages is not lost with the last of them."""
    run, failed, written, said = await measured("ingest", "sink")

    assert [list(one.stages) for one in written] == [["ingest"], ["ingest", "sink"]]
    assert written[-1] == run
    assert failed == []
    assert "measuring sink" in said


async def test_a_stage_that_fails_is_named_and_takes_no_other_with_it() -> None:
    """With what it raised."""
    run, failed, _, said = await measured("ingest", "merger", "sink")

    assert failed == ["merger"]
    assert list(run.stages) == ["ingest", "sink"]
    assert "BrokenError: a contender ended" in said


async def test_nothing_is_written_where_nothing_shall_be() -> None:
    """`--unrecorded`."""
    _, _, written, _ = await measured("ingest", is_recorded=False)

    assert written == []


def test_a_stage_that_does_not_exist_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """The stages that do exist are named."""
    with pytest.raises(SystemExit) as ended:
        main(["nobody"])

    assert ended.value.code == 2
    assert ", ".join(STAGES) in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["merger", "--help"]])
def test_help_is_that_of_a_stage_where_one_is_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And lists all of them, and the benchmarks beside them, where none is."""
    with pytest.raises(SystemExit) as ended:
        main(words)

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert (catalogue.about("merger") in said) == (words[0] == "merger")
    assert ("bench.overload" in said) == (words[0] == "--help")
