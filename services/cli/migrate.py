"""The command line of `afterword migrate`: options in, steps told as they happen, an exit code out."""

import asyncio
import logging
import sys
from typing import Annotated, Any, NamedTuple

import typer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.markup import escape

from schemas.identity import is_tenant
from services.cli.examples import epilog
from services.operations.destination import named
from services.operations.exits import FOUND, CommandError, UnreachableError, UsageError
from services.operations.migrate import sql_users
from services.operations.migrate.connect import clickhouse
from services.operations.migrate.core.plan import NeedsRecoveryError, RefusedError, Weight
from services.operations.migrate.core.sql_user import SqlUser
from services.operations.migrate.settings import MigrateSettings
from services.operations.migrate.steps import DONE, Step, run
from services.runtime.audit_log import audited
from services.runtime.settings import load

EXAMPLES = (
    ("afterword migrate", "before the first start, and after each upgrade"),
    (
        "RETENTION_EVENTS_DAYS=7 afterword migrate --yes",
        "keep events for a week from now on, and delete older ones",
    ),
    ("afterword migrate --wait 60 --partitions 24", "in a script that starts the servers as well"),
    (
        "afterword migrate --sql-user acme",
        "a ClickHouse user that reads the rows of tenant acme, and no others",
    ),
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
    recover: Annotated[
        bool,
        typer.Option(
            "--recover",
            help="Where it would name `afterword recover`: do that, without a question, and go on.",
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Shorten what RETENTION_* variables say, also where that deletes."),
    ] = False,
    sql_user: Annotated[
        str | None,
        typer.Option(
            metavar="TENANT",
            help="Instead of migrating, make the SQL user of a tenant, or bring it up to date: it may read"
            " the tenant's rows in every table and view, within limits, and nothing else. Its password is"
            " printed once. Needs a ClickHouse server.",
        ),
    ] = None,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="With --sql-user: replace the password.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="With --sql-user: remove the user.")] = False,
) -> None:
    """Create or update Kafka's topics and ClickHouse's tables.

    Run it before the first start and after each upgrade; running it again changes nothing.

    Which Kafka cluster and which generation of topics belong to the tables is recorded in ClickHouse.  The
    merger and the sink compare it at each start, and refuse a Kafka whose offsets began again.

    Topics that exist are compared with what they should be.  What breaks a promise is told with the command
    that mends it, and ends in exit code 1; what is an operator's choice is only noted.

    RETENTION_* variables that are set are carried out on topics and tables that exist.  Where that deletes
    anything, migrate says what and asks first; without a terminal it needs --yes, and else leaves it undone.
    """
    settings = named(load(MigrateSettings))
    asked = _asked(settings, sql_user, new_password=new_password, drop=drop)
    # It logs each failed try; the report says once what did not answer.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(soft_wrap=True, highlight=False)
    try:
        if asked is not None:
            act = "migrate --sql-user --drop" if asked.drop else "migrate --sql-user"
            with audited(act, tenant=asked.user.tenant, new_password=asked.new_password):
                asyncio.run(_sql_user(console, settings, asked, wait))
            return
        with audited("migrate", database=settings.clickhouse_database, sure=yes) as done:
            sound = _migrated(console, settings, partitions, wait, done, sure=yes, recover=recover)
    except RefusedError as error:
        raise CommandError(str(error)) from error
    except (KafkaError, ClickHouseError, TimeoutError) as error:
        raise _explained(error) from error
    if not sound:
        raise typer.Exit(FOUND)


def _migrated(
    console: Console,
    settings: MigrateSettings,
    partitions: int | None,
    wait: float,
    done: dict[str, Any],
    *,
    sure: bool,
    recover: bool,
) -> bool:
    """Migrate, and tell whether all is sound in the end; with `recover`, once more after a recovery."""
    try:
        return asyncio.run(_tell(console, settings, partitions, wait, done, sure=sure))
    except NeedsRecoveryError as error:
        if not recover:
            raise
        # Imported here because nobody else needs the merger's merge for a migration.
        from services.operations.recover.run import RecoverOptions  # noqa: PLC0415
        from services.operations.recover.run import recover as recovered  # noqa: PLC0415
        from services.operations.recover.settings import RecoverSettings  # noqa: PLC0415

        console.print(_line(Step(Weight.NOTE.value, str(error))))
        asyncio.run(
            recovered(load(RecoverSettings), RecoverOptions(partitions=partitions), lambda _question: True)
        )
    return asyncio.run(_tell(console, settings, None, wait, done, sure=sure))


class _Asked(NamedTuple):
    """What is to become of a tenant's SQL user."""

    user: SqlUser
    new_password: bool
    drop: bool


def _asked(settings: MigrateSettings, tenant: str | None, *, new_password: bool, drop: bool) -> _Asked | None:
    if tenant is None:
        if new_password or drop:
            raise UsageError(
                "--new-password and --drop are about a SQL user: name its tenant with --sql-user."
            )
        return None
    if not is_tenant(tenant):
        raise UsageError(f"{tenant!r} cannot be a tenant: small letters, digits and dashes, at most 63.")
    if new_password and drop:
        raise UsageError("Either --new-password or --drop.")
    return _Asked(SqlUser(settings.clickhouse_database, tenant), new_password, drop)


async def _sql_user(console: Console, settings: MigrateSettings, asked: _Asked, wait: float) -> None:
    deadline = asyncio.get_running_loop().time() + wait
    user = asked.user
    try:
        async with clickhouse(settings, deadline) as client:
            if asked.drop:
                existed = await sql_users.drop(client, user)
                gone = f"SQL user {user.name} removed" if existed else f"there was no SQL user {user.name}"
                console.print(_line(Step("done" if existed else "same", gone)))
                return
            made = await sql_users.make(client, user, new_password=asked.new_password)
    except ClickHouseError as error:
        if getattr(error, "code", None) == sql_users.NOT_ENOUGH_RIGHTS:
            raise CommandError(sql_users.NO_RIGHT.format(user=settings.clickhouse_user)) from error
        raise
    _tell_made(console, made, settings.clickhouse_url)


def _tell_made(console: Console, made: sql_users.Made, url: str) -> None:
    does = f"SQL user {made.user.name} reads the rows of tenant {made.user.tenant}, and no others"
    console.print(_line(Step("done" if made.is_new or made.password else "same", does)))
    if made.password is None:
        console.print("    It keeps its password; --new-password makes another one.")
        return
    console.print(f"    password: {made.password}    (shown this once; ClickHouse keeps a hash of it)")
    where = f"{url}/?database={made.user.database}&query=SHOW+TABLES"
    console.print(f"    try it:   curl --user '{made.user.name}:{made.password}' '{where}'")


async def _tell(
    console: Console,
    settings: MigrateSettings,
    partitions: int | None,
    wait: float,
    done: dict[str, Any],
    *,
    sure: bool,
) -> bool:
    sound = True
    changed = done.setdefault("changed", [])
    with console.status("Migrating") as status:

        def agree(loss: str) -> bool:
            if sure or not sys.stdin.isatty():
                return sure
            status.stop()
            agreed = typer.confirm(f"{loss} Do it?")
            status.start()
            return agreed

        async for step in run(settings, partitions, wait, agree):
            console.print(_line(step))
            if step.mark == DONE:
                changed.append(step.text)
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
