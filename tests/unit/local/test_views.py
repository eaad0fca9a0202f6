"""What people see."""

from rich.console import Console, RenderableType

from services.local.core.flow import Flow, FlowRates, StageProgress
from services.local.core.supervision import PartState, Phase
from services.local.core.views import (
    PartRow,
    PartStatus,
    StackStatus,
    StackView,
    draw_stack,
    draw_status,
    duration,
)
from services.local.screens import greeting
from services.local.settings import LocalSettings


def shown(drawing: RenderableType) -> str:
    """Return what a terminal of 100 columns shows."""
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(drawing)
    return capture.get()


def test_the_view_shows_parts_rates_and_lag() -> None:
    """What runs, since when, how often it ended, and where records pile up."""
    stages = (StageProgress("merger", 0, 9), StageProgress("sink-state", 1234, 8))
    view = StackView(
        parts=(
            PartRow("merger", PartState(Phase.READY, starts=3), 4711, 130.0),
            PartRow(
                "sink", PartState(Phase.AILING, starts=1, detail="clickhouse: does not answer"), 4712, 3.0
            ),
        ),
        flow=Flow(1.0, 10_000, stages, rows=56_789, dead_letters=2),
        rates=FlowRates(1500.4, {"merger": 1499.6}),
    )
    text = shown(draw_stack(view))

    assert "● ready   4711  2 min         2" in text
    assert "● ailing  4712    3 s            clickhouse: does not answer" in text
    assert (
        "in 1,500/s  →  merged 1,500/s  →  stored 0/s, 1,234 behind  →  56,789 rows   2 dead letters" in text
    )


def test_the_view_shows_the_addresses_of_what_runs() -> None:
    """The dashboard's address stays in sight; what is wrong comes before it."""
    ready = PartRow("query", PartState(Phase.READY, starts=1), 1, 9.0, "http://127.0.0.1:8081")
    ailing = PartRow(
        "ingest", PartState(Phase.AILING, starts=1, detail="log: away"), 2, 9.0, "http://127.0.0.1:8080"
    )
    text = shown(draw_stack(StackView(parts=(ready, ailing))))

    assert "● ready     1  9 s            http://127.0.0.1:8081" in text
    assert "log: away" in text
    assert "8080" not in text


def test_the_view_shows_a_download() -> None:
    """Beside the part that waits for it."""
    kafka = PartRow("kafka", PartState(Phase.STARTING), None, 1.0)
    view = StackView(parts=(kafka,), download=(11_000_000, 44_000_000))

    assert "fetching 11 of 44 MB" in shown(draw_stack(view))


def test_the_greeting_has_lines_that_can_be_copied() -> None:
    """With the ports of this stack, and a key where one is needed."""
    settings = LocalSettings(ingest_port=18080, clickhouse_url="http://127.0.0.1:18123")
    plain = greeting(settings, home="/h", with_keys=False, parts=frozenset({"ingest"}))
    keyed = greeting(settings, home="/h", with_keys=True, parts=frozenset())

    assert (
        "  curl http://127.0.0.1:18080/feedback/chatcmpl-1 -H 'Content-Type: application/json' "
        """-d '{"data": {"rating": 5, "comment": "Spot on"}}'"""
    ) in plain
    assert any("'http://127.0.0.1:18123/?database=afterword' -d 'SELECT" in line for line in plain)
    assert any('-H "Authorization: Bearer $AFTERWORD_KEY"' in line for line in keyed)


def test_the_report_shows_what_does_not_answer() -> None:
    """A figure that is not known is left out, not shown as zero."""
    report = StackStatus("/h", None, (), unreachable=("Kafka at 127.0.0.1:9092",), rows=12)
    text = shown(draw_status(report))

    assert "No local stack runs on /h" in text
    assert "Kafka at 127.0.0.1:9092 does not answer" in text
    assert "rows  12" in text
    assert "dead letters" not in text


def test_the_report_shows_parts_and_lag() -> None:
    """One line each."""
    part = PartStatus("sink", "ready", 4711, 7300.0, 1, "")
    query = PartStatus("query", "ready", 4712, 3.0, 0, "", "http://127.0.0.1:8081")
    report = StackStatus("/h", 1, (part, query), events=5, lag={"merger": 1000})
    text = shown(draw_status(report))

    assert "sink   ready  4711  2 h         1" in text
    assert "query  ready  4712  3 s         0  http://127.0.0.1:8081" in text
    assert "lag of merger  1,000" in text


def test_durations_use_the_largest_unit_that_shows_enough() -> None:
    """`119 s` says more than `2 min`; `2 d` says enough."""
    assert [duration(seconds) for seconds in (0, 119, 120, 7199, 7200, 200_000)] == [
        "0 s",
        "119 s",
        "2 min",
        "120 min",
        "2 h",
        "2 d",
    ]
