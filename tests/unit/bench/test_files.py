"""What a run writes, and what a later one continues with."""

import json
from pathlib import Path

from bench import files
from bench.page import page
from bench.run import Measured, Run
from bench.stages import compared

MACHINE = {"cores": 2, "processor": "P", "memory_gb": 8, "system": "Linux", "python": "3.11.7"}
MEASURED = Measured("abc", "2026-11-22T21:00:00+00:00", 61.0, 3, 0.25, "python -m bench")


def a_run(*, quick: bool) -> Run:
    """Return a run of one stage."""
    figure = compared("sink", "states stored", "rows/s", [9.0, 8.0], [10.0, 10.0])
    return Run(quick, MACHINE, {"kafka": "4.1.1"}).with_stage("sink", MEASURED, [figure])


def written(root: Path) -> set[str]:
    """Return the files below a directory."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_full_run_becomes_the_page_and_what_later_stages_continue_with(tmp_path: Path) -> None:
    """The record beside the page makes the page again."""
    run = a_run(quick=False)

    files.write(run, tmp_path)

    assert files.committed(tmp_path) == files.last(quick=False, root=tmp_path) == run
    assert (tmp_path / "docs/performance.md").read_text() == page(run)
    assert {"bench/results.json", "docs/performance/sink.svg"} <= written(tmp_path)
    assert all(name.startswith(tuple(files.written(run))) for name in written(tmp_path))


def test_a_quick_run_leaves_the_page_as_it_is(tmp_path: Path) -> None:
    """It writes its results where those of any run are."""
    files.write(a_run(quick=False), tmp_path)
    files.write(a_run(quick=True), tmp_path)

    assert files.committed(tmp_path) == a_run(quick=False)
    assert files.last(quick=True, root=tmp_path) == a_run(quick=True)
    assert json.loads((tmp_path / "bench/run.json").read_text())["quick"] is True


def test_results_are_a_list_with_what_others_read(tmp_path: Path) -> None:
    """One line a figure."""
    files.write(a_run(quick=True), tmp_path)

    (line,) = json.loads((tmp_path / "bench/results.json").read_text())
    names = ("stage", "figure", "value", "baseline", "ratio", "target", "met")
    assert [line[name] for name in names] == ["sink", "states stored", 8.5, 10.0, 0.85, "", None]


def test_without_a_run_there_is_nothing_to_continue_with(tmp_path: Path) -> None:
    """A fresh checkout, say."""
    assert files.last(quick=True, root=tmp_path) is None
    assert files.last(quick=False, root=tmp_path) is None
