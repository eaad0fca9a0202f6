"""The command line of `afterword migrate`."""

import asyncio
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console

from schemas.identity import is_tenant
from services.cli.options import epilog
from services.operations.destination import named
from services.operations.exits import FOUND, CommandError, UsageError
from services.operations.migrate.core.plan import MigrationRefusedError
from services.operations.migrate.core.sql_user import SqlUser
from services.operations.migrate.run import migrate as run_migration
from services.operations.migrate.run import migration_error
from services.operations.migrate.settings import MigrateSettings
from services.operations.migrate.sql_users import SqlUserChange, change_sql_user
from services.runtime.audit_log import audited
from services.runtime.settings import load

EXAMPLES = (
    ("afterword migrate", "before the first start and after each upgrade"),
    (
        "RETENTION_EVENTS_DAYS=7 afterword migrate --yes",
        "keep events for a week from now on, and delete older ones",
    ),
    ("afterword migrate --wait 60 --partitions 24", "in a script that also starts the servers"),
    (
        "afterword migrate --sql-user acme",
        "a ClickHouse user that reads only the rows of tenant acme",
    ),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=epilog(EXAMPLES))
def migrate(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="Partitions of new events and state topics; unset: KAFKA_PARTITIONS, or 12.",
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for servers that do not answer.")
    ] = 0,
    recover: Annotated[
        bool,
        typer.Option(
            "--recover",
            help="If `afterword recover` is required, run it without asking, and continue.",
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Apply shorter RETENTION_* variables, even if that deletes data."),
    ] = False,
    sql_user: Annotated[
        str | None,
        typer.Option(
            metavar="TENANT",
            help="Instead of migrating, create or update the SQL user of a tenant: it can read the tenant's"
            " rows in every table and view, within limits, and nothing else. Its password is printed once."
            " Needs a ClickHouse server.",
        ),
    ] = None,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="With --sql-user: replace the password.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="With --sql-user: drop the user.")] = False,
) -> None:
    """Create or update Kafka's topics and ClickHouse's tables.

    Run it before the first start and after each upgrade; running it again changes nothing.

    ClickHouse records which Kafka cluster and which generation of topics belong to the tables.  The merger
    and the sink compare it at each start, and refuse a Kafka whose offsets began again.

    Existing topics are compared with what they should be.  What breaks a promise is reported with the command
    that fixes it, and the exit code is 1; what is an operator's choice is only noted.

    RETENTION_* variables that are set are applied to existing topics and tables.  Where that deletes data,
    migrate reports what and asks first; without a terminal it needs --yes, and otherwise changes nothing.
    """
    settings = named(load(MigrateSettings))
    change = _sql_user_change(settings, sql_user, new_password=new_password, drop=drop)
    console = Console(soft_wrap=True, highlight=False)
    try:
        if change is not None:
            act = "migrate --sql-user --drop" if change.drop else "migrate --sql-user"
            with audited(act, tenant=change.user.tenant, new_password=change.new_password):
                asyncio.run(change_sql_user(console, settings, change, wait))
            return
        with audited("migrate", database=settings.clickhouse_database, sure=yes) as done:
            sound = run_migration(console, settings, partitions, wait, done, sure=yes, recover=recover)
    except MigrationRefusedError as error:
        raise CommandError(str(error)) from error
    except (KafkaError, ClickHouseError, TimeoutError) as error:
        raise migration_error(error) from error
    if not sound:
        raise typer.Exit(FOUND)


def _sql_user_change(
    settings: MigrateSettings, tenant: str | None, *, new_password: bool, drop: bool
) -> SqlUserChange | None:
    if tenant is None:
        if new_password or drop:
            raise UsageError(
                "--new-password and --drop apply to a SQL user: name its tenant with --sql-user."
            )
        return None
    if not is_tenant(tenant):
        raise UsageError(f"{tenant!r} cannot be a tenant: small letters, digits and dashes, at most 63.")
    if new_password and drop:
        raise UsageError("Either --new-password or --drop.")
    return SqlUserChange(SqlUser(settings.clickhouse_database, tenant), new_password, drop)
