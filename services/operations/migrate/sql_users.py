"""Creates, updates and drops the SQL user of a tenant on a ClickHouse server."""

import asyncio
import secrets
from typing import NamedTuple

from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console

from schemas.tables import MIGRATIONS, migrations
from services.operations.exits import CommandError
from services.operations.migrate.core.plan import MigrationRefusedError
from services.operations.migrate.core.sql_user import Relation, SqlUser
from services.operations.migrate.run import MigrationStep, step_line
from services.operations.migrate.servers import connect_clickhouse
from services.operations.migrate.settings import MigrateSettings

NOT_ENOUGH_RIGHTS = 497

NO_USERS = (
    "This ClickHouse cannot store users: it is an embedded engine, such as that of `afterword up`, or all its"
    " users are in files. Point CLICKHOUSE_URL at a ClickHouse server (docker compose has one). On the local"
    " stack WAREHOUSE_READER_PASSWORDS makes accounts that only read, but they see every tenant."
)
NO_RIGHT = (
    "The ClickHouse user {user} may not manage users. Give it that right (access_management for a user in a"
    " file, else GRANT ACCESS MANAGEMENT ON *.* with GRANT OPTION), or set CLICKHOUSE_USER to another one."
)
HIDES = (
    "On this server a row policy for one user hides the rows from all users without one, including"
    " Afterword's services. Set users_without_row_policies_can_read_rows to true in the server's"
    " access_control_improvements, restart it, and try again. Nothing was changed."
)


class ChangedSqlUser(NamedTuple):
    """The result for a SQL user.  `password` is None if it was not changed."""

    user: SqlUser
    is_new: bool
    password: str | None


async def make(client: AsyncClient, user: SqlUser, *, new_password: bool) -> ChangedSqlUser:
    """Create or update the user; MigrationRefusedError if that is not safe."""
    await _check_storage(client)
    relations = await _relations(client, user.database)
    exists = await _exists(client, user.name)
    if not exists:
        await _check_others_still_read(client, user)
    password = secrets.token_urlsafe(24) if new_password or not exists else None
    try:
        if password is not None:
            statement_for = user.change_password if exists else user.create
            await client.command(statement_for(password, secrets.token_hex(16)))
        for statement in user.allow(relations):
            await client.command(statement)
    except ClickHouseError:
        if not exists:
            # Without its policy it could read rows of other tenants.
            await client.command(next(iter(user.drop())))
        raise
    return ChangedSqlUser(user, not exists, password)


async def drop(client: AsyncClient, user: SqlUser) -> bool:
    """Drop the user and its policy; return whether it existed."""
    await _check_storage(client)
    existed = await _exists(client, user.name)
    for statement in user.drop():
        await client.command(statement)
    return existed


async def _check_storage(client: AsyncClient) -> None:
    result = await client.query("SELECT type FROM system.user_directories")
    if {row[0] for row in result.result_rows} <= {"users_xml", "users.xml"}:
        raise MigrationRefusedError(NO_USERS)


async def _relations(client: AsyncClient, database: str) -> list[Relation]:
    result = await client.query(
        "SELECT table, max(name = 'tenant') FROM system.columns WHERE database = {database:String}"
        " GROUP BY table ORDER BY table",
        {"database": database},
    )
    relations = [Relation(name, bool(has_tenant)) for name, has_tenant in result.result_rows]
    applied = MIGRATIONS in {relation.name for relation in relations} and await _newest(client, database)
    if not applied or applied < migrations()[-1].number:
        raise MigrationRefusedError(
            f"Database {database} does not have the tables of this version yet:"
            " run `afterword migrate` first."
        )
    return relations


async def _newest(client: AsyncClient, database: str) -> int:
    result = await client.query(f"SELECT max(number) FROM {database}.{MIGRATIONS}")  # noqa: S608 (both are names of ours)
    return int(result.result_rows[0][0])


async def _exists(client: AsyncClient, name: str) -> bool:
    result = await client.query("SELECT count() FROM system.users WHERE name = {name:String}", {"name": name})
    return bool(result.result_rows[0][0])


async def _check_others_still_read(client: AsyncClient, user: SqlUser) -> None:
    """Refuse a server on which a policy for one user would hide rows from the others.

    Tested on the table of migrations, which only `afterword migrate` reads.
    """
    table = f"{user.database}.{MIGRATIONS}"
    before = await _newest(client, user.database)
    probe = f"`{user.name}_probe` ON {table}"
    await client.command(f"CREATE ROW POLICY OR REPLACE {probe} FOR SELECT USING 0 AS PERMISSIVE TO NONE")
    after = await _newest(client, user.database)
    await client.command(f"DROP ROW POLICY IF EXISTS {probe}")
    if after != before:
        raise MigrationRefusedError(HIDES)


class SqlUserChange(NamedTuple):
    """What to do with the SQL user of a tenant."""

    user: SqlUser
    new_password: bool
    drop: bool


async def change_sql_user(
    console: Console, settings: MigrateSettings, change: SqlUserChange, wait: float
) -> None:
    """Create, update or drop the user and print the result; `wait`: seconds for ClickHouse to answer."""
    deadline = asyncio.get_running_loop().time() + wait
    user = change.user
    try:
        async with connect_clickhouse(settings, deadline) as client:
            if change.drop:
                existed = await drop(client, user)
                gone = f"SQL user {user.name} removed" if existed else f"there was no SQL user {user.name}"
                console.print(step_line(MigrationStep("done" if existed else "same", gone)))
                return
            made = await make(client, user, new_password=change.new_password)
    except ClickHouseError as error:
        if getattr(error, "code", None) == NOT_ENOUGH_RIGHTS:
            raise CommandError(NO_RIGHT.format(user=settings.clickhouse_user)) from error
        raise
    _print_made(console, made, settings.clickhouse_url)


def _print_made(console: Console, made: ChangedSqlUser, url: str) -> None:
    does = f"SQL user {made.user.name} reads the rows of tenant {made.user.tenant}, and no others"
    console.print(step_line(MigrationStep("done" if made.is_new or made.password else "same", does)))
    if made.password is None:
        console.print("    It keeps its password; --new-password replaces it.")
        return
    console.print(f"    password: {made.password}    (shown only once; ClickHouse keeps a hash of it)")
    where = f"{url}/?database={made.user.database}&query=SHOW+TABLES"
    console.print(f"    try it:   curl --user '{made.user.name}:{made.password}' '{where}'")
