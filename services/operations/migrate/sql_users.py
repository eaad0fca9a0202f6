"""Makes and removes one tenant's SQL user on a ClickHouse server."""

import secrets
from typing import NamedTuple

from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.tables import MIGRATIONS, migrations
from services.operations.migrate.core.plan import RefusedError
from services.operations.migrate.core.sql_user import Relation, SqlUser

NOT_ENOUGH_RIGHTS = 497

NO_USERS = (
    "This ClickHouse keeps no users: it is an embedded engine, such as that of `afterword up`, or all its"
    " users are in files. Point CLICKHOUSE_URL at a ClickHouse server (docker compose has one). On the local"
    " stack WAREHOUSE_READER_PASSWORDS makes accounts that only read, but they see every tenant."
)
NO_RIGHT = (
    "The ClickHouse user {user} may not manage users. Give it that right (access_management for a user in a"
    " file, else GRANT ACCESS MANAGEMENT ON *.* with GRANT OPTION), or name another one in CLICKHOUSE_USER."
)
HIDES = (
    "On this server a row policy for one user hides the rows from all who have none, Afterword's own services"
    " among them. Set users_without_row_policies_can_read_rows to true in the server's"
    " access_control_improvements, restart it, and try again. Nothing was changed."
)


class Made(NamedTuple):
    """What became of a SQL user.  `password` is None where the one it has was left alone."""

    user: SqlUser
    is_new: bool
    password: str | None


async def make(client: AsyncClient, user: SqlUser, *, new_password: bool) -> Made:
    """Make the user, or bring it up to date; RefusedError where that cannot be done safely."""
    await _check_storage(client)
    relations = await _relations(client, user.database)
    exists = await _exists(client, user.name)
    if not exists:
        await _check_others_still_read(client, user)
    password = secrets.token_urlsafe(24) if new_password or not exists else None
    try:
        if password is not None:
            say = user.change_password if exists else user.create
            await client.command(say(password, secrets.token_hex(16)))
        for statement in user.allow(relations):
            await client.command(statement)
    except ClickHouseError:
        if not exists:
            # Half made, it might read what it should not.
            await client.command(next(iter(user.drop())))
        raise
    return Made(user, not exists, password)


async def drop(client: AsyncClient, user: SqlUser) -> bool:
    """Remove the user and its policy; tell whether there was one."""
    await _check_storage(client)
    existed = await _exists(client, user.name)
    for statement in user.drop():
        await client.command(statement)
    return existed


async def _check_storage(client: AsyncClient) -> None:
    found = await client.query("SELECT type FROM system.user_directories")
    if {row[0] for row in found.result_rows} <= {"users_xml", "users.xml"}:
        raise RefusedError(NO_USERS)


async def _relations(client: AsyncClient, database: str) -> list[Relation]:
    found = await client.query(
        "SELECT table, max(name = 'tenant') FROM system.columns WHERE database = {database:String}"
        " GROUP BY table ORDER BY table",
        {"database": database},
    )
    relations = [Relation(name, bool(has_tenant)) for name, has_tenant in found.result_rows]
    applied = MIGRATIONS in {relation.name for relation in relations} and await _newest(client, database)
    if not applied or applied < migrations()[-1].number:
        raise RefusedError(
            f"Database {database} does not have the tables of this version yet:"
            " run `afterword migrate` first."
        )
    return relations


async def _newest(client: AsyncClient, database: str) -> int:
    found = await client.query(f"SELECT max(number) FROM {database}.{MIGRATIONS}")  # noqa: S608 (both are names of ours)
    return int(found.result_rows[0][0])


async def _exists(client: AsyncClient, name: str) -> bool:
    found = await client.query("SELECT count() FROM system.users WHERE name = {name:String}", {"name": name})
    return bool(found.result_rows[0][0])


async def _check_others_still_read(client: AsyncClient, user: SqlUser) -> None:
    """Refuse a server on which a policy for one user would hide rows from the others.

    It is tried on the table of migrations, which only `afterword migrate` reads.
    """
    table = f"{user.database}.{MIGRATIONS}"
    before = await _newest(client, user.database)
    probe = f"`{user.name}_probe` ON {table}"
    await client.command(f"CREATE ROW POLICY OR REPLACE {probe} FOR SELECT USING 0 AS PERMISSIVE TO NONE")
    after = await _newest(client, user.database)
    await client.command(f"DROP ROW POLICY IF EXISTS {probe}")
    if after != before:
        raise RefusedError(HIDES)
