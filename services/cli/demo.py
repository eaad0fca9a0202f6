"""The command line of `afterword demo`."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Annotated

import typer

from services.cli.options import Key, Url, epilog
from services.operations.demo.core.traffic import GENERATED_BY, DemoCall, traffic
from services.operations.demo.run import send_demo
from services.operations.destination import LOCAL_INGEST, target

EXAMPLES = (
    ("afterword demo", "five calls a second until Ctrl-C"),
    ("afterword demo --rate 200 --count 20000", "a day of a busy product"),
    ("afterword demo --seed 7 --duration 60", "the same minute each time"),
)

app = typer.Typer(add_completion=False)


@app.command(epilog=epilog(EXAMPLES))
def demo(
    *,
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Calls a second, on average.")] = 5.0,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this number of calls.")] = None,
    duration: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Stop after this time.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Equal seeds send equal traffic; random by default.")
    ] = None,
    url: Url = LOCAL_INGEST,
    key: Key = None,
) -> None:
    """Send synthetic demo traffic, to see the pipeline and its tables at work.

    Users of fictional models vote, comment in many languages, change their
    minds, vote hours later, click twice, retract.  Request data sometimes
    arrives after the feedback, sometimes never.  It is sent via the same
    endpoints as real feedback: Requesty's, GPTBoost's and the native one.

    Everything sent is marked as generated: ids begin with demo-, and the
    request data has generated_by: afterword demo.
    """
    seed = secrets.randbelow(1 << 20) if seed is None else seed
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    calls = _limited(traffic(seed, now, rate), count, duration)
    typer.echo(
        f"Synthetic traffic: all requests, votes and comments are generated (generated_by: {GENERATED_BY}).\n"
        f"Sending to {target(url, key)}; seed {seed}" + ("" if count or duration else "; Ctrl-C stops"),
        err=True,
    )
    raise typer.Exit(send_demo(calls, url, key))


def _limited(calls: Iterator[DemoCall], count: int | None, duration: float | None) -> Iterator[DemoCall]:
    timely = calls if duration is None else takewhile(lambda call: call.after <= duration, calls)
    return islice(timely, count)
