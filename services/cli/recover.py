"""The command line of `afterword recover`: options in, steps told as they happen, an exit code out."""

import asyncio
import logging
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError

from services.cli.examples import epilog
from services.operations.confirm import agreement
from services.operations.exits import UnreachableError
from services.operations.recover import run
from services.operations.recover.settings import RecoverSettings
from services.runtime.settings import load

EXAMPLES = (
    ("afterword recover", "what would be done; nothing is changed"),
    ("afterword recover --yes", "do it; again after an interruption, and it goes on"),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=epilog(EXAMPLES))
def recover(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Partitions of the new topics; unset: as many as the old had."),
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Take topics of another cluster under the old names for the lost ones' successors.",
        ),
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Fill another generation, also where the last one seems to be whole."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON objects, one a line.")] = False,
) -> None:
    """Go on after Kafka lost topics, records or everything.

    Makes the next generation of topics and fills its states from all that
    ClickHouse and Kafka still have, so that new feedback is merged into old
    rows.  Events that the old log has and ClickHouse does not are carried
    over in their order, also those at offsets that were given out twice.

    It deletes nothing, and keeps the old topics.  It says first what it would
    do, and does it with --yes, or once you agree on a terminal.  It may be
    interrupted at any time, and the same call goes on; until it is done
    ingest answers 503 overloaded, and `afterword resize --abort` goes back.
    """
    # It logs each failed try; the error says once what did not answer.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = load(RecoverSettings)
    wanted = run.RecoverOptions(partitions=partitions, adopt=adopt, again=again, json=as_json)
    try:
        code = asyncio.run(run.recover(settings, wanted, agreement(yes=yes, quiet=as_json, err=as_json)))
    except (KafkaError, ClickHouseError, OSError, TimeoutError) as error:
        raise UnreachableError(
            f"A server does not do its work: {error!r}\nThe same call goes on from here."
        ) from error
    raise typer.Exit(code)
