"""Draws a picture of the stack with Rich.  Pure: a picture in, something to print out."""

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.local.core.flow import Flow, Rates
from services.local.core.picture import PartRow, Picture, duration
from services.local.core.supervision import Phase

_MARKS = {
    Phase.WAITING: ("○", "dim"),
    Phase.STARTING: ("◐", "yellow"),
    Phase.READY: ("●", "green"),
    Phase.AILING: ("●", "red"),
    Phase.RESTING: ("◌", "red"),
    Phase.DONE: ("✓", "green"),
    Phase.FAILED: ("✗", "red"),
    Phase.STOPPING: ("◑", "yellow"),
    Phase.STOPPED: ("○", "dim"),
}
_MEGABYTE = 1_000_000


def draw(picture: Picture) -> RenderableType:
    """Return the table of parts, and the line that shows the flow once there is one."""
    lines: list[RenderableType] = [_parts(picture)]
    if picture.flow is not None:
        lines.append(Text())
        lines.append(_flow(picture.flow, picture.rates))
    return Group(Text(), *lines)


def _parts(picture: Picture) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("part", "", "pid", "up", "restarts", ""):
        table.add_column(heading, justify="right" if heading in ("pid", "up", "restarts") else "left")
    for part in picture.parts:
        table.add_row(*_row(part, picture.download))
    return table


def _row(part: PartRow, download: tuple[int, int] | None) -> tuple[RenderableType, ...]:
    mark, style = _MARKS[part.state.phase]
    runs = part.pid is not None
    tone = "dim" if part.state.phase is Phase.STARTING else "red"
    note: RenderableType = Text(part.state.detail, style=tone, overflow="ellipsis", no_wrap=True)
    if part.state.phase is Phase.READY and part.url:
        note = Text(part.url, style=f"underline link {part.url}", no_wrap=True)
    if download is not None and part.name == "kafka":
        note = _download(*download)
    return (
        Text(part.name, style="bold"),
        Text(f"{mark} {part.state.phase.value}", style=style),
        str(part.pid) if runs else "",
        duration(part.up_seconds) if runs else "",
        str(part.state.restarts) if part.state.restarts else "",
        note,
    )


def _download(done: int, total: int) -> Table:
    table = Table.grid(padding=(0, 1))
    text = f"fetching {done / _MEGABYTE:.0f} of {total / _MEGABYTE:.0f} MB"
    table.add_row(ProgressBar(total=total, completed=done, width=12), Text(text, no_wrap=True))
    return table


def _flow(flow: Flow, rates: Rates) -> Text:
    steps = [_step("in", rates.events, None)]
    for stage, label in (("merger", "merged"), ("sink-state", "stored")):
        if (known := flow.stage(stage)) is not None:
            steps.append(_step(label, rates.stages.get(stage, 0.0), known.lag))
    text = Text("  →  ").join(steps)
    if flow.rows is not None:
        text.append(f"  →  {flow.rows:,} rows", style="bold")
    if flow.dead_letters:
        text.append(f"   {flow.dead_letters:,} dead letters", style="red")
    return text


def _step(label: str, rate: float, lag: int | None) -> Text:
    text = Text(f"{label} {rate:,.0f}/s")
    if lag:
        text.append(f", {lag:,} behind", style="yellow")
    return text
