"""Where runs are kept: the last one in `bench/`, the last full one in `docs/performance/`, with its page.

`python -m bench.files` regenerates the page and its plots from the run beside it.
"""

import json
from pathlib import Path

from bench import plots, report
from bench.page import page
from bench.run import Run

ROOT = Path(__file__).parents[1]
BENCH, RECORD, PAGE = "bench", "docs/performance", "docs/performance.md"
WRITTEN = (BENCH, RECORD, PAGE)
"""What a run writes, from the root."""
_FACTS, _RESULTS, _TABLE = "run.json", "results.json", "results.md"


def last(*, quick: bool, root: Path = ROOT) -> Run | None:
    """Return the run that a run of some stages goes on with, if there is one."""
    return read(root / BENCH) if quick else committed(root)


def committed(root: Path = ROOT) -> Run | None:
    """Return the full run that the page shows, if there is one."""
    return read(root / RECORD)


def read(folder: Path) -> Run | None:
    """Return the run that a folder keeps, if there is one."""
    facts, results = folder / _FACTS, folder / _RESULTS
    if not (facts.exists() and results.exists()):
        return None
    return Run.read(json.loads(facts.read_text()), json.loads(results.read_text()))


def written(run: Run) -> list[str]:
    """Return what `write` writes of a run, from the root."""
    return [BENCH] if run.quick else list(WRITTEN)


def write(run: Run, root: Path = ROOT) -> None:
    """Write `bench/` and, of a full run, the page with its record and plots."""
    _keep(run, root / BENCH)
    (root / BENCH / _TABLE).write_text(report.results(run))
    if not run.quick:
        publish(run, root)


def publish(run: Run, root: Path = ROOT) -> None:
    """Write the page, its plots, and the record that it is made from."""
    _keep(run, root / RECORD)
    (root / PAGE).write_text(page(run))


def _keep(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(figure, ensure_ascii=False) for figure in run.results())
    (folder / _RESULTS).write_text("[\n" + ",\n".join(lines) + "\n]\n")
    (folder / _FACTS).write_text(json.dumps(run.facts(), indent=1, ensure_ascii=False) + "\n")
    plots.draw(run, folder)


if __name__ == "__main__":
    if run := committed():
        publish(run)
