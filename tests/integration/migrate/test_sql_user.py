"""`afterword migrate --sql-user`: what the user sees, and what is said where there can be none.

No ClickHouse server is at hand: the statements are parsed by the engine, and what they say is enforced by it,
written into the one file of users that an embedded engine reads.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from schemas.tables import DEPLOYMENTS, SINK_POSITIONS, migrations
from services.operations.migrate.core.plan import MigrationRefusedError
from services.operations.migrate.core.sql_user import Relation, SqlUser
from services.operations.migrate.sql_users import drop, make
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.row_policies import Answer, as_owner, as_sql_user

USER = SqlUser("afterword", "acme")

LATER = (
    "CREATE TABLE added_later (tenant String, x UInt8) ENGINE = MergeTree ORDER BY tenant",
    "INSERT INTO added_later VALUES ('acme', 1), ('other', 2)",
    "CREATE TABLE added_without_tenant (x UInt8) ENGINE = MergeTree ORDER BY x",
    "INSERT INTO added_without_tenant VALUES (1)",
)

ROW = (
    "INSERT INTO feedback_state (revision, tenant, request_id, version, data, request)"
    """ VALUES (1, '{}', 'r1', 1, '{{"rating":5}}', '{{"model":"gpt-x"}}')"""
)
EVENT = (
    "INSERT INTO feedback_events (tenant, request_id, version, event_id, op, data)"
    """ VALUES ('{}', 'r1', 1, generateUUIDv4(), 'merge', '{{"rating":5}}')"""
)
LETTER = "INSERT INTO dead_letters (dlq_topic, dlq_offset, tenant) VALUES ('{0}', 1, '{0}')"
ROWS = [insert.format(tenant) for insert in (ROW, EVENT, LETTER) for tenant in ("acme", "other")]


@pytest.fixture(scope="module")
async def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What the user of tenant `acme` is answered, where `other` has the same rows."""
    directory = tmp_path_factory.mktemp("policed")
    made = [statement for migration in migrations() for statement in migration.statements]
    setup = ["CREATE DATABASE afterword", "USE afterword", *made, *ROWS, *LATER]
    listed = (
        "SELECT table, max(name = 'tenant') FROM system.columns WHERE database = 'afterword' GROUP BY table"
    )
    *done, found = await as_owner(directory, [*setup, listed])
    assert not [answer for answer in done if isinstance(answer, str)]
    assert isinstance(found, list)
    relations = [Relation(str(name), bool(has_tenant)) for name, has_tenant in found]
    asked = [f"SELECT * FROM afterword.{relation.name}" for relation in relations]
    asked += [*REFUSED, AROUND]
    # The rights are those of the day on which the user was made, the policy is on whatever there is.
    known = [relation for relation in relations if not relation.name.startswith("added")]
    policed = [relation.name for relation in relations]
    told = await as_sql_user(directory, USER, known, policed, asked)
    names = [relation.name for relation in relations] + [*REFUSED, AROUND]
    return dict(zip(names, told, strict=True))


REFUSED = {
    "INSERT INTO afterword.feedback_state (tenant) VALUES ('acme')": "ACCESS_DENIED",
    "ALTER TABLE afterword.feedback_state DELETE WHERE 1": "ACCESS_DENIED",
    "CREATE TEMPORARY TABLE mine (x UInt8)": "ACCESS_DENIED",
    "SELECT * FROM mergeTreeIndex('afterword', 'feedback_state')": "ACCESS_DENIED",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')": "ACCESS_DENIED",
    "SELECT 1 SETTINGS max_execution_time = 0": "SETTING_CONSTRAINT_VIOLATION",
    "SELECT 1 SETTINGS max_memory_usage = 99000000000": "SETTING_CONSTRAINT_VIOLATION",
    "SET readonly = 0": "READONLY",
}
"""What the user tries, and why not."""

AROUND = "SELECT tenant FROM mergeTreeProjection('afterword', 'feedback_state', 'by_time')"

OWN_VIEWS = (
    "feedback",
    "feedback_agreement",
    "feedback_daily",
    "feedback_events",
    "feedback_history",
    "feedback_raters",
    "feedback_state",
    "feedback_values",
)


@pytest.mark.parametrize("name", [*OWN_VIEWS, "dead_letters", "added_later"])
def test_the_user_sees_its_own_rows_and_no_others(answers: dict[str, Answer], name: str) -> None:
    """In every table and view that has a tenant, also in one that was added after the user was made."""
    rows = answers[name]

    assert isinstance(rows, list), rows
    assert rows
    assert all("acme" in row for row in rows)
    assert not any("other" in str(row) for row in rows)


def test_whatever_has_a_tenant_is_among_these(answers: dict[str, Answer]) -> None:
    """A new table or view is put to the same test."""
    readable = {name for name, answer in answers.items() if isinstance(answer, list)} - {AROUND}

    assert readable == {*OWN_VIEWS, "dead_letters", "erased_requests", "erasures", "added_later"}


@pytest.mark.parametrize("name", [SINK_POSITIONS, DEPLOYMENTS])
def test_what_belongs_to_no_tenant_is_refused(answers: dict[str, Answer], name: str) -> None:
    """How the installation is built is not the tenant's to read."""
    assert "ACCESS_DENIED" in answers[name]


def test_a_later_table_without_a_tenant_stays_closed(answers: dict[str, Answer]) -> None:
    """The policy asks for a column that it does not have: an error, not its rows."""
    assert "UNKNOWN_IDENTIFIER" in answers["added_without_tenant"]


@pytest.mark.parametrize("statement", REFUSED)
def test_nothing_else_is_allowed(answers: dict[str, Answer], statement: str) -> None:
    """Neither writing, nor ways around the policy, nor lifting a limit."""
    assert REFUSED[statement] in str(answers[statement])


def test_a_projection_has_the_policy_of_its_table(answers: dict[str, Answer]) -> None:
    """Read by itself, it shows the same tenant."""
    assert answers[AROUND] == [["acme"]]


async def test_the_engine_understands_every_statement(clickhouse_settings: ClickHouseSettings) -> None:
    """They are of the dialect that ClickHouse speaks."""
    client = await connect(clickhouse_settings)
    relations = [Relation("sink_positions", has_tenant=False)]
    for statement in (
        USER.create("password", "0a"),
        USER.change_password("password", "0a"),
        *USER.allow(relations),
        *USER.drop(),
    ):
        await client.raw_query(f"EXPLAIN AST {statement}")
    await client.close()


async def test_an_engine_without_users_explains_what_to_do(clickhouse_settings: ClickHouseSettings) -> None:
    """The local stack is one."""
    client = await connect(clickhouse_settings)
    for attempt in (make(client, USER, new_password=False), drop(client, USER)):
        with pytest.raises(MigrationRefusedError, match="Point CLICKHOUSE_URL at a ClickHouse server"):
            await attempt
    await client.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--sql-user", "acme"], 1, "cannot store users"),
        (["--sql-user", "Not a slug"], 2, "cannot be a tenant"),
        (["--drop"], 2, "name its tenant with --sql-user"),
        (["--sql-user", "acme", "--drop", "--new-password"], 2, "Either --new-password or --drop"),
    ],
)
async def test_the_command_refuses_in_words(
    clickhouse_settings: ClickHouseSettings, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    """Nothing of a traceback, and an exit code that a script can tell."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "migrate", *arguments,
        env={**os.environ, "CLICKHOUSE_URL": clickhouse_settings.clickhouse_url, "COLUMNS": "300"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip

    printed, _ = await process.communicate()

    assert process.returncode == code, printed.decode()
    assert said in printed.decode()
