"""Which pictures a run has: their names, what they show, and the figures in them.  Pure."""

from typing import NamedTuple

from bench.run import Run
from bench.stages import Figure


class Picture(NamedTuple):
    """One picture.  `kind` is `ratios`, `bars` or `lines`."""

    name: str
    kind: str
    alt: str
    figures: list[Figure]


def pictures(run: Run) -> list[Picture]:
    """Return the pictures of a run, in the order of the page."""
    return [*overview(run), *(picture for stage in run.stages for picture in of_stage(run, stage))]


def overview(run: Run) -> list[Picture]:
    """Return the picture of all ratios that have a target; none where there are none."""
    judged = [figure for figure in run.figures if figure.ratio is not None and figure.bound_of == "ratio"]
    alt = "Each ratio beside its target, on a logarithmic scale"
    return [Picture("ratios", "ratios", alt, judged)] if judged else []


def of_stage(run: Run, stage: str) -> list[Picture]:
    """Return a stage's pictures: its figures against their baselines, and what went on with time."""
    figures = run.of(stage)
    against = [figure for figure in figures if figure.baseline is not None]
    moving = [figure for figure in figures if figure.series]
    found = [
        Picture(stage, "bars", f"{stage}: each figure beside its baseline, with every round", against),
        Picture(f"{stage}-time", "lines", f"{stage}: what went on with time", moving),
    ]
    return [picture for picture in found if picture.figures]
