"""The page about a full run, docs/performance.md.  Pure but for the texts beside the stages.

`python -m bench.files` rewrites it, with its plots, from the committed run.
"""

from pathlib import Path

from bench import gallery, report, shown
from bench.gallery import Picture
from bench.projection import projection
from bench.run import Run
from bench.stages import STAGES, Figure

_HERE = Path(__file__).parent
_HEADER = ("Figure", "Found", "Rounds", "Baseline", "Ratio")
_TITLES = {
    "ingest": "Ingest",
    "merger": "Merger",
    "sink": "Sink",
    "whole": "The whole stack",
    "scale": "Scale-out",
}


def page(run: Run) -> str:
    """Return the whole page in Markdown."""
    return (
        (_HERE / "page.md")
        .read_text()
        .format(
            facts=report.markdown(("The run", ""), report.facts(run)),
            targets=_targets(run),
            told=_told(run),
            ratios=_pictures(gallery.overview(run)),
            stages="\n".join(_stage(run, name) for name in STAGES),
            projection=projection(run.of("whole")),
        )
    )


def _told(run: Run) -> str:
    missing = f"\nNot measured yet: {', '.join(run.missing)}." if run.missing else ""
    return report.told(run.figures) + missing


def _targets(run: Run) -> str:
    judged = [figure for figure in run.figures if figure.target]
    rows = ((one.stage, one.figure, shown.found(one), one.target, shown.verdict(one)) for one in judged)
    return report.markdown(("Stage", "Figure", "Found", "Target", ""), rows)


def _stage(run: Run, name: str) -> str:
    """Return a stage's part of the page: what its author says, its table, its pictures."""
    text = _HERE / name / "page.md"
    parts = [f"## {_TITLES[name]}\n", text.read_text() if text.exists() else ""]
    if figures := run.of(name):
        parts += [report.markdown(_HEADER, map(_row, figures)), _pictures(gallery.of_stage(run, name))]
    return "\n".join(filter(None, parts))


def _row(figure: Figure) -> tuple[str, ...]:
    cells = (figure.figure, shown.value(figure), shown.spread(figure))
    return (*cells, shown.baseline(figure), shown.ratio(figure))


def _pictures(pictures: list[Picture]) -> str:
    return "".join(f"![{picture.alt}](performance/{picture.name}.svg)\n" for picture in pictures)
