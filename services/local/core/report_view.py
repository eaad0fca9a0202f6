"""Draws the report of `afterword status` with Rich.  Pure: a report in, something to print out."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.local.core.picture import duration
from services.local.core.report import PartReport, Report
from services.local.core.supervision import FIT


def draw(report: Report) -> RenderableType:
    """Return the parts, if a supervisor runs some here, and the figures of the pipeline."""
    blocks: list[RenderableType] = []
    if report.parts:
        blocks += [_parts(report.parts), Text()]
    else:
        blocks += [Text(f"No local stack runs on {report.home}; `afterword up` starts one."), Text()]
    blocks += [
        Text(f"{server} does not answer, or has no topics or tables yet", style="red")
        for server in report.unreachable
    ]
    blocks += [Text(f"refused by {refusal}", style="red") for refusal in report.refusals]
    blocks += [Text(trouble, style="yellow") for trouble in report.kafka]
    return Group(*blocks, _figures(report))


def _parts(parts: tuple[PartReport, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, justify in (("part", "left"), ("", "left"), ("pid", "right"), ("up", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    table.add_column("restarts", justify="right")
    table.add_column("")
    for part in parts:
        up = "" if part.uptime_seconds is None else duration(part.uptime_seconds)
        style = "green" if part.state in {*FIT} else "yellow"
        state = Text(part.state, style=style)
        pid = "" if part.pid is None else str(part.pid)
        note = part.detail or part.url
        table.add_row(Text(part.name, style="bold"), state, pid, up, str(part.restarts), Text(note))
    return table


def _figures(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for stage, lag in (report.lag or {}).items():
        table.add_row(f"lag of {stage}", f"{lag:,}")
    figures = {"events taken": report.events, "rows": report.rows, "dead letters": report.dead_letters}
    for name, figure in figures.items():
        if figure is not None:
            table.add_row(name, f"{figure:,}")
    return table
