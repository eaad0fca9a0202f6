"""The figures as tables: for a terminal, and as Markdown.  Pure: values in, tables out."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from bench import shown
from bench.run import Run
from bench.stages import Figure

HEADER = ("Stage", "Figure", "Found", "Baseline", "Ratio", "Target", "")
_COLOURS = {"met": "green", "missed": "red", "not measured": "yellow"}


def row(figure: Figure) -> tuple[str, ...]:
    """Return a figure's cells, for `HEADER`."""
    return (
        figure.stage,
        figure.figure,
        shown.value(figure),
        shown.baseline(figure),
        shown.ratio(figure),
        figure.target,
        shown.verdict(figure),
    )


def terminal(figures: Iterable[Figure]) -> Table:
    """Return the table for a terminal."""
    table = Table(*HEADER, title_justify="left")
    for column in table.columns[2:5]:
        column.justify = "right"
    for figure in figures:
        *cells, verdict = row(figure)
        colour = _COLOURS.get(verdict)
        table.add_row(*cells, f"[{colour}]{verdict}[/]" if colour else verdict)
    return table


def told(figures: Iterable[Figure]) -> str:
    """Return in a sentence how many targets were met."""
    aimed = [figure for figure in figures if figure.target]
    lines = [f"{sum(figure.met is True for figure in aimed)} of {len(aimed)} targets were met."]
    for word in ("missed", "not measured"):
        names = [f"{one.stage}, {one.figure}" for one in aimed if shown.verdict(one) == word]
        lines += [f"{word.capitalize()}: {'; '.join(names)}."] if names else []
    return "\n".join(lines)


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(content: Any) -> str:
    return str(content).replace("|", "\\|")


def results(run: Run) -> str:
    """Return `bench/results.md`: the table, and which run it is of."""
    size = "quick: figures of so short a run say little" if run.quick else "full"
    parts = (
        "# Benchmark\n",
        f"Size: {size}.\n{told(run.figures)}\n",
        markdown(HEADER, map(row, run.figures)),
        markdown(("Fact", ""), facts(run)),
    )
    return "\n".join(parts)


def facts(run: Run) -> list[tuple[str, str]]:
    """Return where and when it ran, as rows of two cells."""
    machine = run.machine
    rows = [
        ("Machine", f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']} GB"),
        ("System", f"{machine['system']}, Python {machine['python']}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
        ("Took", f"{run.seconds / 60:.0f} minutes"),
    ]
    for name, one in run.stages.items():
        said = f"`{one.command}` at commit `{one.commit}`, {one.began_at}, {one.seconds:.0f} s,"
        rows.append((f"Stage {name}", f"{said} rounds: {one.rounds}, load before: {one.load:.2f}"))
    return rows
