"""Where runs are kept: the last one in `bench/`, the last full one in `docs/performance/`, with its page."""

import json
from pathlib import Path
from typing import Any

from tests.bench import plots, report
from tests.bench.page import page
from tests.bench.run import Run

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
DOCS = ROOT / "docs"
RECORD = DOCS / "performance" / "run.json"
WRITTEN = ("bench", "docs/performance", "docs/performance.md")
"""What a run writes, from the root."""


def last(*, quick: bool) -> Run | None:
    """Return the run that a run of some stages goes on with, if there is one."""
    return _read_bench() if quick else committed()


def committed(record: Path = RECORD) -> Run | None:
    """Return the full run that the page shows."""
    if not record.exists():
        return None
    found = json.loads(record.read_text())
    return Run.read(found, found["results"])


def _read_bench() -> Run | None:
    facts, results = BENCH / "run.json", BENCH / "results.json"
    if not (facts.exists() and results.exists()):
        return None
    return Run.read(json.loads(facts.read_text()), json.loads(results.read_text()))


def written(run: Run) -> list[str]:
    """Return what `write` writes of a run, from the root."""
    return [WRITTEN[0]] if run.quick else list(WRITTEN)


def write(run: Run) -> None:
    """Write `bench/` and, of a full run, the page with its record and plots."""
    BENCH.mkdir(exist_ok=True)
    _dump(BENCH / "results.json", run.results())
    _dump(BENCH / "run.json", run.facts())
    (BENCH / "results.md").write_text(report.results(run))
    plots.draw(run, BENCH)
    if not run.quick:
        publish(run, DOCS)


def publish(run: Run, docs: Path) -> None:
    """Write the page, its plots, and the record that it is made from."""
    folder = docs / "performance"
    folder.mkdir(exist_ok=True)
    _dump(folder / "run.json", {**run.facts(), "results": run.results()})
    plots.draw(run, folder)
    (docs / "performance.md").write_text(page(run))


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    if run := committed():
        publish(run, DOCS)
