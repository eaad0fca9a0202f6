"""The command line of `afterword recover`."""

import asyncio
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError

from services.cli.options import Yes, epilog
from services.operations.confirm import agreement
from services.operations.exits import UnreachableError
from services.operations.recover import run
from services.operations.recover.settings import RecoverSettings
from services.runtime.settings import load

EXAMPLES = (
    ("afterword recover", "what would be done; nothing is changed"),
    ("afterword recover --yes", "do it; run it again after an interruption"),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=epilog(EXAMPLES))
def recover(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Partitions of the new topics; by default as many as before."),
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Adopt topics of another cluster with the old names as copies of the lost ones.",
        ),
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Fill another generation, even if the last one seems complete."),
    ] = False,
    yes: Yes = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON objects, one per line.")] = False,
) -> None:
    """Resume after Kafka lost topics, records or everything.

    Creates the next generation of topics and fills its states from everything
    that ClickHouse and Kafka still have, so that new feedback is merged into
    old rows.  Events that only the old log has are carried over in their
    order, including those at offsets that were assigned twice.

    It deletes nothing, and keeps the old topics.  It prints what it would do,
    and does it with --yes, or once you confirm on a terminal.  After an
    interruption, run the same command again; until it is done ingest answers
    503 overloaded, and `afterword resize --abort` goes back.
    """
    settings = load(RecoverSettings)
    wanted = run.RecoverOptions(partitions=partitions, adopt=adopt, again=again, json=as_json)
    try:
        code = asyncio.run(run.recover(settings, wanted, agreement(yes=yes, quiet=as_json, err=as_json)))
    except (KafkaError, ClickHouseError, OSError, TimeoutError) as error:
        raise UnreachableError(
            f"A server failed: {error!r}\nRun the same command again to resume."
        ) from error
    raise typer.Exit(code)
