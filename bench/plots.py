"""Draws a run's pictures as small SVG files.  The same run gives the same bytes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet
from matplotlib.ticker import LogLocator, NullFormatter

from bench.gallery import Picture, pictures
from bench.run import Run
from bench.stages import Figure

Draw: TypeAlias = Callable[[Sequence[Figure]], Sheet]

_OURS, _THEIRS, _TARGET = "#2563eb", "#9ca3af", "#dc2626"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "afterword",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "lines.linewidth": 1.2,
}
_WIDTH = 7.5
_NAME_WIDTH = 38


def draw(run: Run, folder: Path) -> None:
    """Write every picture of a run as NAME.svg, and remove those that an earlier run left."""
    for old in folder.glob("*.svg"):
        old.unlink()
    with mpl.rc_context(_STYLE):
        for picture in pictures(run):
            _save(_KINDS[picture.kind](picture.figures), folder, picture)


def _save(sheet: Sheet, folder: Path, picture: Picture) -> None:
    path = folder / f"{picture.name}.svg"
    sheet.savefig(path, metadata={"Date": None, "Creator": None, "Title": picture.alt})
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))


def _ratios(figures: Sequence[Figure]) -> Sheet:
    sheet = Sheet((_WIDTH, 0.9 + 0.45 * len(figures)), layout="constrained")
    axes = sheet.add_subplot()
    places = range(len(figures))
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    for place, figure in zip(places, figures, strict=True):
        axes.plot(figure.ratio or 0.0, place, "o", color=_OURS, label=_once("found", place))
        axes.plot(figure.bound or 0.0, place, "|", color=_TARGET, markersize=16, label=_once("target", place))
    axes.set_yticks(places, [_named(f"{figure.stage}: {figure.figure}") for figure in figures])
    axes.set_ylim(len(figures) - 0.5, -0.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("times the baseline")
    axes.legend(loc="best", frameon=True)
    return sheet


def _once(label: str, place: int) -> str:
    return label if place == 0 else f"_{label}"


def _bars(figures: Sequence[Figure]) -> Sheet:
    sheet, rows = _sheet(figures, 0.95)
    for axes, figure in zip(rows, figures, strict=True):
        both = (("baseline", figure.baseline_samples, _THEIRS), ("ours", figure.samples, _OURS))
        axes.barh([0, 1], [figure.baseline or 0.0, figure.value], color=[_THEIRS, _OURS], height=0.6)
        for place, (_, samples, _) in enumerate(both):
            axes.plot(samples, [place] * len(samples), ".", color="black", markersize=4)
        axes.set_yticks([0, 1], [name for name, *_ in both])
        axes.set_ylim(-0.6, 1.6)
        axes.set_title(f"{figure.figure} ({figure.unit})", loc="left", fontsize=9)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    return sheet


def _lines(figures: Sequence[Figure]) -> Sheet:
    sheet, rows = _sheet(figures, 2.2)
    for axes, figure in zip(rows, figures, strict=True):
        for name, points in figure.series.items():
            axes.plot([at for at, _ in points], [level for _, level in points], label=name)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{figure.figure} ({figure.unit})", loc="left", fontsize=9)
        axes.set_xlabel("seconds")
        axes.legend(loc="best", ncols=3, fontsize=8)
    return sheet


def _sheet(figures: Sequence[Figure], height: float) -> tuple[Sheet, list[Axes]]:
    sheet = Sheet((_WIDTH, 0.2 + height * len(figures)), layout="constrained")
    return sheet, [sheet.add_subplot(len(figures), 1, place + 1) for place in range(len(figures))]


def _named(text: str) -> str:
    return fill(text, _NAME_WIDTH)


_KINDS: Mapping[str, Draw] = {"ratios": _ratios, "bars": _bars, "lines": _lines}
