"""A run as it is written, merged with what is measured later, and shown."""

from pathlib import Path

import pytest

from bench import catalogue, gallery, plots, projection, report
from bench.measuring import Plan, begun
from bench.page import page
from bench.run import Measured, Run
from bench.stages import FULL, QUICK, STAGES, Figure, compared
from bench.targets import at_least, times

MACHINE = {"cores": 2, "processor": "P", "memory_gb": 8, "system": "Linux", "python": "3.11.7"}
INGEST = compared("ingest", "singles", "events/s", [10, 11], [2, 3], target=times(4, "the textbook"))
MISSED = compared("whole", "sustained", "events/s", [19_000], target=at_least(20_000, "events/s"))
MEMORY = compared("whole", "memory of ingest", "MiB", [80], series={"ingest": [(0, 79), (1, 80)]})
COSTS = [
    compared("whole", projection.cost_of(part), "us/event", [cost])
    for part, cost in zip(projection.PARTS, (10, 20, 3, 6, 12), strict=True)
]


def measured(commit: str = "abc") -> Measured:
    """Return when something was measured."""
    return Measured(commit, "2026-11-22T21:00:00+00:00", 61.0, 3, 0.25, "python -m bench")


def a_run(*figures: Figure, quick: bool = False) -> Run:
    """Return a run of the stages that the figures are of."""
    run = Run(quick, MACHINE, {"kafka": "4.1.1"})
    for stage in dict.fromkeys(figure.stage for figure in figures):
        run = run.with_stage(stage, measured(), [one for one in figures if one.stage == stage])
    return run


def test_a_run_is_read_as_it_was_written() -> None:
    """Facts and figures are in two files."""
    run = a_run(INGEST, MISSED, MEMORY)

    assert Run.read(run.facts(), run.results()) == run


def test_results_have_what_others_read() -> None:
    """Seven keys, whatever else there is."""
    keys = {"stage", "figure", "value", "baseline", "ratio", "target", "met"}

    assert all(keys <= set(line) for line in a_run(INGEST, MISSED).results())


def test_a_stage_that_is_measured_again_replaces_its_own_figures_alone() -> None:
    """Each stage says which commit it was measured at."""
    newer = compared("whole", "sustained", "events/s", [21_000])
    run = a_run(MISSED, MEMORY, INGEST).with_stage("whole", measured("def"), [newer])

    assert run.figures == [INGEST, newer]
    assert {name: one.commit for name, one in run.stages.items()} == {"ingest": "abc", "whole": "def"}
    assert list(run.stages) == [name for name in STAGES if name in run.stages]


def test_figures_of_another_size_or_machine_are_not_in_one_table() -> None:
    """A quick run says little, and a faster machine says something else."""
    run = a_run(INGEST)

    assert run.fits(a_run(MISSED))
    assert not run.fits(a_run(INGEST, quick=True))
    assert not run.fits(Run(False, {**MACHINE, "cores": 64}, {"kafka": "4.1.1"}))  # noqa: FBT003


def test_a_run_of_all_stages_begins_with_nothing() -> None:
    """What fails then is not there, instead of being old."""
    assert begun(Plan([], QUICK, [])).figures == []


def test_stages_are_measured_in_the_order_of_the_flow() -> None:
    """Whatever the order in which they are named."""
    plan = Plan(["sink", "ingest"], FULL, ["sink", "ingest"])

    assert plan.stages == ["ingest", "sink"]
    assert plan.budget == STAGES["ingest"].full + STAGES["sink"].full
    assert plan.command == "python -m bench sink ingest"


def test_all_stages_together_keep_to_an_hour_and_to_five_minutes() -> None:
    """By what each may take."""
    assert Plan([], FULL, []).budget <= 60 * 60
    assert Plan([], QUICK, []).budget <= 5 * 60


def test_every_stage_has_a_module_and_shows_what_it_is() -> None:
    """Or `make bench` ends before it measures anything."""
    catalogue.check(list(STAGES))

    assert all(catalogue.about(stage) for stage in STAGES)


def test_a_stage_without_a_module_is_refused() -> None:
    """A run without it would look whole."""
    with pytest.raises(catalogue.MissingStageError, match=r"bench/nobody/stage\.py"):
        catalogue.check(["ingest", "nobody"])


def test_benchmarks_that_are_no_stages_are_listed() -> None:
    """Each with what it is about; what a stage runs is not among them."""
    names = dict(catalogue.others())

    assert names["bench.overload"].startswith("Ten times what ingest can take")
    assert not [name for name in names if name.split(".")[1] in STAGES]


def test_the_table_shows_which_targets_were_missed() -> None:
    """In words, and in a sentence above it."""
    text = report.results(a_run(INGEST, MISSED))

    assert "1 of 2 targets were met.\nMissed: whole, sustained." in text
    assert (
        "| ingest | singles | 10.5 events/s | 2.5 events/s | 4.2 | at least 4 times the textbook | met |"
        in text
    )


def test_the_page_has_every_stage_and_shows_what_was_not_measured() -> None:
    """Nothing is left out without a word."""
    text = page(a_run(INGEST, MISSED, MEMORY))

    assert "Not measured yet: merger, sink, scale." in text
    assert "| whole | sustained | 19,000 events/s | at least 20,000 events/s | missed |" in text
    for picture in ("ratios", "ingest", "whole-time"):
        assert f"(performance/{picture}.svg)" in text


def test_a_page_without_any_run_can_be_made() -> None:
    """Before the first one."""
    assert "Not measured yet: ingest, merger, sink, whole, scale." in page(a_run())


def test_a_cluster_is_projected_from_what_an_event_costs() -> None:
    """100,000 events of 10 us each are one core at its limit, two as they are planned."""
    cost = projection.costs(COSTS)

    assert projection.cores(cost, 100_000)["Ingest"] == 2
    assert projection.cores(cost, 100_000)["Kafka"] == 3
    assert "| **All** | 51 µs |" in projection.projection(COSTS)


def test_pictures_are_drawn_as_they_are_listed_and_always_the_same(tmp_path: Path) -> None:
    """Old ones go, and the same run gives the same bytes."""
    run = a_run(INGEST, MISSED, MEMORY)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "left-over.svg").write_text("")
        plots.draw(run, folder)

    drawn = {path.name: path.read_bytes() for path in first.iterdir()}
    assert set(drawn) == {f"{picture.name}.svg" for picture in gallery.pictures(run)}
    assert drawn == {path.name: path.read_bytes() for path in second.iterdir()}
