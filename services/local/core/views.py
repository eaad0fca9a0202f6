"""What `afterword up` and `afterword status` show: the values, and how Rich draws them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.local.core.flow import Flow, FlowRates
from services.local.core.supervision import FIT, PartState, Phase


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part with its process id, if it runs, the seconds since its start, and the URL for users, if any."""

    name: str
    state: PartState
    pid: int | None
    up_seconds: float
    url: str = ""


@dataclass(frozen=True, slots=True)
class StackView:
    """What the screens show.  `download`: bytes received and bytes in all, during a download."""

    parts: tuple[PartRow, ...]
    flow: Flow | None = None
    rates: FlowRates = field(default_factory=FlowRates)
    download: tuple[int, int] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether every part is ready or done."""
        return all(part.state.phase in FIT for part in self.parts)


def duration(seconds: float) -> str:
    """Return a duration, rounded to its largest unit: `8 s`, `12 min`, `3 h`, `2 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


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


def draw_stack(view: StackView) -> RenderableType:
    """Return the table of parts, and the line with rates and lag once they are known."""
    lines: list[RenderableType] = [_parts(view)]
    if view.flow is not None:
        lines.append(Text())
        lines.append(_flow(view.flow, view.rates))
    return Group(Text(), *lines)


def _parts(view: StackView) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("part", "", "pid", "up", "restarts", ""):
        table.add_column(heading, justify="right" if heading in ("pid", "up", "restarts") else "left")
    for part in view.parts:
        table.add_row(*_row(part, view.download))
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


def _flow(flow: Flow, rates: FlowRates) -> Text:
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


@dataclass(frozen=True, slots=True)
class PartStatus:
    """A part as the supervisor recorded it last, checked against the running processes."""

    name: str
    state: str
    pid: int | None
    uptime_seconds: float | None
    restarts: int
    detail: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class StackStatus:
    """What `afterword status` reports.  `lag` is by stage, in records; None: the server did not answer."""

    home: str
    supervisor: int | None
    parts: tuple[PartStatus, ...]
    events: int | None = None
    lag: Mapping[str, int] | None = None
    rows: int | None = None
    dead_letters: int | None = None
    unreachable: tuple[str, ...] = field(default=())
    refusals: tuple[str, ...] = field(default=())
    """Why merger or sink refuse to work, and the remedy."""
    kafka: tuple[str, ...] = field(default=())
    """Problems of Kafka's brokers and of the replicas of topics."""

    @property
    def ready(self) -> bool:
        """Whether both servers answer, neither merger nor sink refuses to work, and all parts are fit."""
        return not self.unreachable and not self.refusals and all_fit(self.parts)

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object, for scripts."""
        return {"ready": self.ready, **asdict(self)}


def all_fit(parts: tuple[PartStatus, ...]) -> bool:
    """Return whether every part is ready or done."""
    return all(part.state in {*FIT} for part in parts)


def draw_status(report: StackStatus) -> RenderableType:
    """Return the table of parts, if a supervisor runs some here, and the figures of the pipeline."""
    blocks: list[RenderableType] = []
    if report.parts:
        blocks += [_part_statuses(report.parts), Text()]
    else:
        blocks += [Text(f"No local stack runs on {report.home}; `afterword up` starts one."), Text()]
    blocks += [
        Text(f"{server} does not answer, or has no topics or tables yet", style="red")
        for server in report.unreachable
    ]
    blocks += [Text(f"refused by {refusal}", style="red") for refusal in report.refusals]
    blocks += [Text(problem, style="yellow") for problem in report.kafka]
    return Group(*blocks, _figures(report))


def _part_statuses(parts: tuple[PartStatus, ...]) -> Table:
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


def _figures(report: StackStatus) -> Table:
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
