"""`afterword demo`: the command itself."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from services.cli.examples import epilog
from services.operations.demo.core.traffic import GENERATED_BY, KINDS, Call, traffic
from services.operations.demo.sending import Sender, Tally
from services.operations.destination import IS_IT_RUNNING, LOCAL_INGEST, Key, Url, target
from services.operations.exits import DONE, FOUND, UnreachableError
from services.operations.send.lanes import Patience
from services.operations.send.posting import client_for

EXAMPLES = (
    ("afterword demo", "five calls a second until Ctrl-C"),
    ("afterword demo --rate 200 --count 20000", "as much as a busy product in a day"),
    ("afterword demo --seed 7 --duration 60", "the same minute each time"),
)
SECONDS_BETWEEN_LINES = 5.0
PATIENCE_SECONDS = 60.0

app = typer.Typer(add_completion=False)


@app.command(epilog=epilog(EXAMPLES))
def demo(
    *,
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Calls a second, on average.")] = 5.0,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many calls.")] = None,
    duration: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Stop after so many seconds.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed sends the same traffic; by default any.")
    ] = None,
    url: Url = LOCAL_INGEST,
    key: Key = None,
) -> None:
    """Send invented, lifelike traffic, to see the pipeline and its tables at work.

    Several models that do not exist are asked things; people vote, comment in
    many languages, change their minds, vote hours later, click twice, retract.
    Facts of a request sometimes come after the feedback, sometimes never.
    It all goes through the same doors as real feedback: Requesty's, GPTBoost's
    and the native one.

    Everything sent is generated, and says so: ids begin with demo-, and the
    request facts carry generated_by: afterword demo.
    """
    seed = secrets.randbelow(1 << 20) if seed is None else seed
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    calls = _limited(traffic(seed, now, rate), count, duration)
    typer.echo(
        f"Generated traffic: nobody wrote, voted or asked any of this (generated_by: {GENERATED_BY}).\n"
        f"Sending to {target(url, key)}; seed {seed}" + ("" if count or duration else "; Ctrl-C stops"),
        err=True,
    )
    try:
        tally = asyncio.run(_run(calls, url, key))
    except UnreachableError as error:
        raise UnreachableError(f"{error}\n{IS_IT_RUNNING}") from error
    raise typer.Exit(FOUND if tally.rejected else DONE)


def _limited(calls: Iterator[Call], count: int | None, duration: float | None) -> Iterator[Call]:
    timely = calls if duration is None else takewhile(lambda call: call.after <= duration, calls)
    return islice(timely, count)


async def _run(calls: Iterator[Call], url: str, key: str | None) -> Tally:
    started = time.monotonic()
    async with client_for(url, key) as client:
        sender = Sender(client, secrets.token_hex(8), Patience(PATIENCE_SECONDS, time.monotonic))
        showing = asyncio.create_task(_show(sender.tally, started))
        try:
            await sender.send(calls, lambda: time.monotonic() - started)
        finally:
            showing.cancel()
            typer.echo(_summary(sender.tally, time.monotonic() - started))
    return sender.tally


async def _show(tally: Tally, started: float) -> None:
    console = Console(stderr=True)
    if not console.is_terminal:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LINES)
            console.print(_line(tally, time.monotonic() - started), highlight=False, soft_wrap=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            live.update(_table(tally, time.monotonic() - started))
            await asyncio.sleep(0.25)


def _line(tally: Tally, seconds: float) -> str:
    trouble = f"; waiting: {tally.trouble}" if tally.trouble else ""
    return f"{tally.sent:,} calls, {tally.sent / max(seconds, 0.001):,.1f}/s{trouble}"


def _table(tally: Tally, seconds: float) -> Table:
    table = Table(box=None, show_header=False, title=_line(tally, seconds), title_justify="left")
    for kind in KINDS:
        table.add_row(f"  {kind}", f"{tally.kinds[kind]:,}")
    return table


def _summary(tally: Tally, seconds: float) -> str:
    kinds = ", ".join(f"{tally.kinds[kind]:,} {kind}" for kind in KINDS if tally.kinds[kind])
    rejected = "".join(f"\n  rejected {times:,} times: {why}" for why, times in tally.rejected.items())
    return f"{tally.sent:,} generated calls in {seconds:.1f} s: {kinds or 'none'}{rejected}"
