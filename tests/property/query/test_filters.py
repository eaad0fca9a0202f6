"""Filters, as ClickHouse answers them over the real table, are what Python says of the same documents."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import orjson
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.tables import FEEDBACK_STATE
from services.query.reads.core.filters import parse_filters, to_parameters
from services.query.reads.core.sql import where
from services.runtime.clickhouse.client import INSERT_SETTINGS
from services.runtime.clickhouse.core.statement import SqlParameters
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, state_row
from tests.support.oracles.filter_cases import parameters, rows
from tests.support.oracles.filters import matches

Parameters = list[tuple[str, str]]

QUICK = settings(
    # Without shrinking, which takes minutes here: the failure names the question and the rows in doubt.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.too_slow,
        HealthCheck.large_base_example,
    ],
)
BATCH = 30
"""Filters that one statement asks about."""


@pytest.fixture
async def tables(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """Make the tables in a database of this test's own."""
    await create_tables(clickhouse_settings)
    return clickhouse_settings


@pytest.fixture
def client(tables: ClickHouseSettings) -> Iterator[Client]:
    """Connect without an event loop, as Hypothesis needs it."""
    url = urlsplit(tables.clickhouse_url)
    with clickhouse_connect.get_client(
        host=url.hostname,
        port=url.port or 8123,
        username=tables.clickhouse_user,
        password=tables.clickhouse_password.get_secret_value(),
        database=tables.clickhouse_database,
        autogenerate_session_id=False,
    ) as client:
        yield client


def store(client: Client, documents: list[dict[str, Any]]) -> None:
    """Make these the only rows: some replaced another version, one was erased, others have the same ids."""
    client.command(f"TRUNCATE TABLE {FEEDBACK_STATE}")
    before = [
        state_row(**{**document, "data": {"rating": 5, "comment": "Great"}}) for document in documents[::2]
    ]
    after = [state_row(**document, revision=2) for document in documents]
    foreign = [{**one, "tenant": "other"} for one in after]
    erased = [state_row("erased", 1), state_row("erased", 2, is_deleted=1)]
    for part in (before, [*after, *foreign], erased[:1], erased[1:]):
        lines = b"\n".join(map(orjson.dumps, part))
        client.raw_insert(FEEDBACK_STATE, None, lines, settings=dict(INSERT_SETTINGS), fmt="JSONEachRow")


def found(client: Client, questions: list[Parameters]) -> list[set[str]]:
    """Return the ids that each question finds: all in one statement, each under its own WHERE."""
    places = SqlParameters()
    selects = [
        f"SELECT {number} AS question, request_id FROM {FEEDBACK_STATE} FINAL "
        f"WHERE {where('default', parse_filters(question), places).sql}"
        for number, question in enumerate(questions)
    ]
    answer = client.raw_query(" UNION ALL ".join(selects), places.parameters, fmt="JSONEachRow")
    ids: list[set[str]] = [set() for _ in questions]
    for line in answer.splitlines():
        one = orjson.loads(line)
        ids[one["question"]].add(one["request_id"])
    return ids


@settings(QUICK, max_examples=8)
@given(
    documents=st.lists(st.integers(0, 10**6), min_size=8, max_size=40, unique=True).flatmap(
        lambda ids: st.tuples(*(rows(f"r{one}") for one in ids))
    ),
    questions=st.lists(parameters(), min_size=BATCH, max_size=BATCH),
)
def test_clickhouse_and_python_agree(
    client: Client, documents: tuple[dict[str, Any], ...], questions: list[Parameters]
) -> None:
    """Whatever the rows say, and whatever is asked of them."""
    store(client, list(documents))
    answers = found(client, questions)

    for question, ids in zip(questions, answers, strict=True):
        wanted = {row["request_id"] for row in documents if matches(row, question)}
        doubtful = [row for row in documents if row["request_id"] in wanted ^ ids]
        assert ids == wanted, (question, doubtful[:2])


def test_zero_is_zero_with_either_sign(client: Client) -> None:
    """To IN, these are two numbers."""
    store(client, [{"request_id": f"r{value}", "data": {"rating": value}} for value in (0, 0.0, -0.0, 1)])

    plus, minus = found(client, [[("rating", "0")], [("rating", "-0.0")]])

    assert plus == minus == {"r0", "r0.0", "r-0.0"}


@settings(max_examples=200)
@given(parameters())
def test_filters_become_the_parameters_that_ask_for_them(question: Parameters) -> None:
    """So a link asks what the page shows."""
    filters = parse_filters(question)

    assert parse_filters(to_parameters(filters)) == filters
