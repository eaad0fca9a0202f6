"""The command line of `afterword resize`."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import orjson
import typer

from services.cli.options import epilog
from services.operations.confirm import agreement
from services.operations.destination import named
from services.operations.exits import DONE, FOUND, UsageError
from services.operations.resize import run
from services.operations.resize.core.plan import report_lines
from services.operations.resize.run import ResizeLimits
from services.operations.resize.settings import ResizeSettings
from services.runtime.settings import load

EXAMPLES = (
    ("afterword resize --partitions 24", "what would be done; nothing is changed"),
    ("afterword resize --partitions 24 --yes", "do it; run it again after an interruption"),
    ("afterword resize --partitions 24 --yes --max-pause 10", "abort rather than pause for longer"),
    ("afterword resize --abort --yes", "go back, after an interruption"),
)

T = TypeVar("T")

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=epilog(EXAMPLES))
def resize(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="New number of partitions of events and states."),
    ] = None,
    abort: Annotated[
        bool, typer.Option("--abort", help="After an interruption, go back to the old topics.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Start another generation, whatever was copied before.")
    ] = False,
    max_pause: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Go back if the pause would be longer.")
    ] = 60.0,
    arrival: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long to wait for the services after the switch."),
    ] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Change the number of partitions of events and states.

    Partitions of a live topic never change, since keys would move.  So all
    states are copied to a new generation of topics (`feedback-state-v2`, and
    so on), most of them during live traffic.  Then ingest answers 503
    overloaded for some seconds: clients retry those requests, of which nothing
    is written.  Every key is compared before the new topics are opened.

    It prints what it would do, and does it with --yes, or once you confirm on a
    terminal.  It may be interrupted: Ctrl-C goes back to the old topics; after
    a kill, run the same command again, or go back with --abort.

    Services with KAFKA_TOPIC_GENERATION in their environment stay on that
    generation: unset it first.
    """
    settings = _settings()
    if abort == (partitions is not None):
        raise UsageError("Give --partitions N, or --abort.")
    if abort:
        typer.echo(_run(run.abort(settings, agreement(yes=yes))))
        return
    limits = ResizeLimits(max_pause, arrival)
    act = run.resize(settings, partitions or 0, agreement(yes=yes), limits, anew=anew, json=as_json)
    report = _run(act)
    if report is None:
        return
    if as_json:
        typer.echo(orjson.dumps(report.as_json()).decode())
    else:
        for line in report_lines(report):
            typer.echo(line)
    raise typer.Exit(FOUND if report.absent else DONE)


def _settings() -> ResizeSettings:
    return named(load(ResizeSettings))


def _run(act: Coroutine[Any, Any, T]) -> T:
    async def stoppable() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine is always run by a task)
        # As Ctrl-C: reopens the old topics.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await act

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
