"""The command line of `afterword migrate`: options in, steps told as they happen, an exit code out."""

import asyncio
import logging
from typing import Annotated

import typer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.markup import escape

from services.commands.examples import epilog
from services.commands.exits import FOUND, CommandError, UnreachableError
from services.commands.migrate.plan import RefusedError, Weight
from services.commands.migrate.settings import MigrateSettings
from services.commands.migrate.steps import Step, run
from services.runtime.settings import load

EXAMPLES = (
    ("afterword migrate", "before the first start, and after each upgrade"),
    ("afterword migrate --wait 60 --partitions 24", "in a script that starts the servers as well"),
    ("KAFKA_TOPIC_GENERATION=2 afterword migrate", "new topics, `feedback-events-v2` and so on"),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")
_MARKS = {"done": "[green]✓[/]", "same": "[dim]·[/]", "wrong": "[red]✗[/]", "note": "[yellow]![/]"}


@app.command(epilog=epilog(EXAMPLES))
def migrate(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="Partitions of the events and state topics, for ever; unset: KAFKA_PARTITIONS, or 12.",
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for servers that do not answer.")
    ] = 0,
) -> None:
    """Create or update Kafka's topics and ClickHouse's tables.

    Run it before the first start and after each upgrade; running it again changes nothing.

    Which Kafka cluster and which generation of topics belong to the tables is recorded in ClickHouse.  The
    merger and the sink compare it at each start, and refuse a Kafka whose offsets began again.

    Topics that exist are compared with what they should be.  What breaks a promise is told with the command
    that mends it, and ends in exit code 1; what is an operator's choice is only noted.
    """
    settings = load(MigrateSettings)
    # It logs each failed try; the report says once what did not answer.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(soft_wrap=True, highlight=False)
    try:
        sound = asyncio.run(_tell(console, settings, partitions, wait))
    except RefusedError as error:
        raise CommandError(str(error)) from error
    except (KafkaError, ClickHouseError, TimeoutError) as error:
        raise _explained(error) from error
    if not sound:
        raise typer.Exit(FOUND)


async def _tell(console: Console, settings: MigrateSettings, partitions: int | None, wait: float) -> bool:
    sound = True
    with console.status("Migrating"):
        async for step in run(settings, partitions, wait):
            console.print(_line(step))
            sound = sound and step.mark != Weight.WRONG.value
    return sound


def _line(step: Step) -> str:
    mend = f"\n    {escape(step.mend)}" if step.mend else ""
    return f"{_MARKS[step.mark]} {escape(step.text)}{mend}"


def _explained(error: Exception) -> CommandError:
    """Tell a server that went away in the middle from one that refuses something."""
    if isinstance(error, ClickHouseError):
        refused = getattr(error, "code", None) is not None
        name = "ClickHouse"
    else:
        refused = isinstance(error, KafkaError) and not (
            error.retriable or isinstance(error, KafkaTimeoutError)
        )
        name = "Kafka"
    if refused:
        return CommandError(f"{name} refuses: {error}")
    return UnreachableError(
        f"{name} stopped answering: {error!r}. The same call goes on where this one ended."
    )
