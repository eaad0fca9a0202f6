"""The command line of `afterword verify`."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from services.cli.options import epilog
from services.operations.database import connected
from services.operations.destination import named
from services.operations.dlq.core.statements import moment
from services.operations.exits import DONE, FOUND, UnreachableError, UsageError
from services.operations.progress import ProgressBar
from services.operations.verify.core.report import as_json, lines
from services.operations.verify.core.selection import VerifySelection
from services.operations.verify.run import Verification
from services.operations.verify.settings import VerifySettings
from services.pipeline.generations import resolved
from services.runtime.settings import load

DEFAULT_SAMPLE = 100_000
EXAMPLES = (
    ("afterword verify", "every event, and a sample of the requests"),
    ("afterword verify --all", "every request, however long it takes"),
    ("afterword verify --tenant acme --from 2h", "events of one tenant in the last two hours"),
    ("afterword verify --json | jq '.differences[].mend'", "in a script"),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")
_errors = Console(stderr=True)


@app.command(epilog=epilog(EXAMPLES))
def verify(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Only events appended since then, and their requests: 2h, 7d or 2026-11-22T08:00:00Z.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only events appended before then.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, help="Approximate number of requests to compare in full.")
    ] = DEFAULT_SAMPLE,
    everything: Annotated[bool, typer.Option("--all", help="Compare every request in full.")] = False,
    seed: Annotated[str, typer.Option(help="Seed of the sample; equal seeds give equal samples.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the log, the states and ClickHouse, and name the fix of each difference.

    Every event of the log must be in ClickHouse, and every row of ClickHouse in
    the log.  For a sample of the requests, or all, the events are merged again
    and compared with the state, and the state with the row, value by value.

    It can run at any time: records in flight are reported as such, not as
    missing.  It changes nothing.  Memory does not grow with the number of
    requests; with --all, the temporary directory (TMPDIR) needs about the size
    of the log.

    The exit code is 1 if there is a difference.
    """
    settings = named(load(VerifySettings), tenant)
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    selection = _selection(tenant, since, until, seed, now)
    raise typer.Exit(asyncio.run(_run(settings, selection, None if everything else sample, now, json=json)))


async def _run(
    settings: VerifySettings, selection: VerifySelection, sample: int | None, now: datetime, *, json: bool
) -> int:
    try:
        settings = await resolved(settings, "afterword-verify")
        async with connected(settings) as database:
            with ProgressBar("Verifying", None, _errors) as bar:
                verification = Verification(settings, database, selection, sample, now, bar)
                cut = await verification.run()
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnreachableError(
            f"Kafka at {settings.kafka_bootstrap_servers} does not answer: is it running, and is"
            f" KAFKA_BOOTSTRAP_SERVERS right?  ({error!r})"
        ) from error
    report, chosen = verification.report, verification.selection
    if json:
        typer.echo(orjson.dumps(as_json(report, cut, chosen), option=orjson.OPT_INDENT_2).decode())
    else:
        for line in lines(report, cut, chosen):
            typer.echo(line)
    return DONE if report.is_clean else FOUND


def _selection(
    tenant: str | None, since: str | None, until: str | None, seed: str, now: datetime
) -> VerifySelection:
    try:
        first, last = (
            None if text is None else int(moment(text, now).timestamp() * 1000) for text in (since, until)
        )
        return VerifySelection(tenant=tenant, since_ms=first, until_ms=last, seed=seed)
    except ValueError as error:
        raise UsageError(str(error)) from error
