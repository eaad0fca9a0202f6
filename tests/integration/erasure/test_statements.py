"""What SQL deletes is what the rule in Python says, row by row, on a real ClickHouse engine."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.tables import DEAD_LETTERS, ERASED_REQUESTS, FEEDBACK_EVENTS, FEEDBACK_STATE
from services.erasure.core.erasures import user_hash
from services.erasure.core.statements import EVERY
from services.erasure.tables import ErasureTables
from services.erasure.tables import tables as connected
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, run, state_row
from tests.support.merger.records import an_event_id
from tests.support.operations.dead_letters import a_letter, a_row, put
from tests.support.operations.erasure_coverage import (
    CoveredLetter,
    ErasedRequest,
    takes_event,
    takes_letter,
    takes_state,
)

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
VERSIONS = st.integers(0, 9)
KEYS = st.sampled_from([("t1", "r1"), ("t1", "r'2"), ("t2", "r1"), ("t2", "\\")])
USERS = st.sampled_from([None, "", "u", "ü", 42, True])
ROWS = st.fixed_dictionaries({"key": KEYS, "version": VERSIONS, "data": USERS, "request": USERS})
MOMENTS = VERSIONS.map(lambda number: AT + timedelta(seconds=number))
TABLES = (FEEDBACK_EVENTS, FEEDBACK_STATE, DEAD_LETTERS, ERASED_REQUESTS)

Rows = list[dict[str, Any]]


@pytest.fixture
async def erasing(
    clickhouse_settings: ClickHouseSettings,
) -> AsyncIterator[tuple[ClickHouseSettings, ErasureTables]]:
    """A database with all tables, and what asks it."""
    await create_tables(clickhouse_settings)
    async with connected(clickhouse_settings) as tables:
        yield clickhouse_settings, tables


def body(row: dict[str, Any]) -> dict[str, Any]:
    """Return data and facts that name the users."""
    return {part: {} if row[part] is None else {"user_id": row[part]} for part in ("data", "request")}


def event_rows(rows: Rows) -> Rows:
    """Return events, each version of a request once; every third one is an erase."""
    times = {"received_at": AT, "appended_at": AT}
    made = {(row["key"], row["version"]): row for row in rows}
    return [
        {
            "tenant": key[0], "request_id": key[1], "version": version, "event_id": an_event_id(version),
            "op": "erase" if version % 3 == 2 else "merge", "source": "native", "log_partition": 0,
            "log_offset": version, **times, **body(row),
        }
        for (key, version), row in made.items()
    ]  # fmt: skip


def state_rows(rows: Rows) -> Rows:
    """Return versions of rows, each at a revision of its own."""
    return [
        state_row(row["key"][1], number, tenant=row["key"][0], version=row["version"], **body(row))
        for number, row in enumerate(rows)
    ]


def in_turns(rows: Rows) -> Iterator[Rows]:
    """Cut versions of rows into inserts: of several in one insert, only the newest is stored."""
    left = rows
    while left:
        turn = {(one["tenant"], one["request_id"]): one for one in reversed(left)}
        yield list(turn.values())
        left = [one for one in left if one not in turn.values()]


def letter_rows(rows: Rows) -> Rows:
    """Return dead letters: of the merger, of a row that ClickHouse refused, and of an unknown place."""
    found = []
    for number, row in enumerate(rows):
        kind, (tenant, request_id) = number % 3, row["key"]
        found.append(
            a_row(
                a_letter(
                    number,
                    tenant=tenant,
                    request_id=request_id,
                    stage="sink" if kind == 1 else "merger",
                    original_topic="feedback-state" if kind == 1 else "feedback-events",
                    original_version=None if kind == 2 else 4711 if kind == 1 else row["version"],
                    failed_at=AT + timedelta(seconds=row["version"]),
                ),
                f"{tenant}/{request_id}".encode(),
                orjson.dumps({**({"version": row["version"]} if kind == 1 else {}), **body(row)}),
            )
        )
    return found


def erases(marks: list[tuple[tuple[str, str], int, datetime]]) -> dict[tuple[str, str], ErasedRequest]:
    """Return up to where each request is erased."""
    found: dict[tuple[str, str], ErasedRequest] = {}
    for key, version, at in marks:
        known = found.get(key, ErasedRequest(-1, None))
        found[key] = ErasedRequest(max(known.version, version), max(known.appended_at or at, at))
    return found


def texts(row: dict[str, Any]) -> set[str]:
    """Return the users that a row names, as SQL sees them."""
    shown = (
        value if isinstance(value, str) else orjson.dumps(value).decode()
        for value in (row["data"], row["request"])
    )
    return {one for one in shown if one not in ("", "null")}


async def ids(tables: ErasureTables, table: str, columns: str) -> set[tuple[Any, ...]]:
    """Return the rows that a table has."""
    rows = await tables.rows(Statement(f"SELECT {columns} FROM {table}"))
    return {tuple(row.values()) for row in rows}


@settings(
    max_examples=6, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.lists(ROWS, min_size=4, max_size=30),
    st.lists(ROWS, min_size=4, max_size=30),
    st.lists(ROWS, min_size=4, max_size=30),
    st.lists(st.tuples(KEYS, VERSIONS, MOMENTS), min_size=1, max_size=4),
)
async def test_sql_and_the_rule_agree(
    erasing: tuple[ClickHouseSettings, ErasureTables],
    events: Rows,
    states: Rows,
    letters: Rows,
    marks: list[tuple[tuple[str, str], int, datetime]],
) -> None:
    """About what is found, what names a user, what is deleted, and what stays."""
    database, tables = erasing
    for table in TABLES:
        await run(database, f"TRUNCATE TABLE {table}")
    event, state, letter = event_rows(events), state_rows(states), letter_rows(letters)
    await insert(database, FEEDBACK_EVENTS, event)
    for turn in in_turns(state):
        await insert(database, FEEDBACK_STATE, turn)
    await put(database, *letter)
    await insert(
        database,
        ERASED_REQUESTS,
        [
            {"tenant": key[0], "request_id": key[1], "version": version, "event_id": an_event_id(version),
             "appended_at": at}
            for key, version, at in marks
        ],
    )  # fmt: skip
    erased = erases(marks)
    newest = {(one["tenant"], one["request_id"]): one["revision"] for one in state}

    kept_events = {
        (one["tenant"], one["request_id"], one["version"])
        for one in event
        if (mark := erased.get((one["tenant"], one["request_id"]))) is None
        or not takes_event(mark, one["op"], one["version"])
    }
    kept_letters = set()
    for number, (one, row) in enumerate(zip(letter, letters, strict=True)):
        mark = erased.get(row["key"])
        place = CoveredLetter(None if number % 3 == 2 else row["version"], one["failed_at"])
        if mark is None or not takes_letter(mark, place):
            kept_letters.add((number,))
    left = await tables.left(EVERY)
    assert left[FEEDBACK_EVENTS] == len(event) - len(kept_events)
    assert left[DEAD_LETTERS] == len(letter) - len(kept_letters)

    latest = {row["key"]: row for row in states}
    mentions = [
        *((row, row["version"]) for row in _stored(events)),
        *((row, row["version"]) for row in latest.values()),
        *((row, None if number % 3 == 2 else row["version"]) for number, row in enumerate(letters)),
    ]
    for user in ("u", "ü", "42", "true"):
        named = {
            row["key"]
            for row, version in mentions
            if user in texts(row)
            and not (
                (mark := erased.get(row["key"]))
                and takes_letter(mark, CoveredLetter(version, AT + timedelta(seconds=row["version"])))
            )
        }
        for tenant in ("t1", "t2"):
            found = await tables.named(tenant, user_hash(tenant, user))
            assert found == sorted(found)
            surely = {name for owner, name in named if owner == tenant}
            # Older versions of a row may be there, or merged away by ClickHouse.
            perhaps = {row["key"][1] for row in states if row["key"][0] == tenant and user in texts(row)}
            assert surely <= {*found} <= surely | perhaps

    await tables.delete(EVERY)
    assert await ids(tables, FEEDBACK_EVENTS, "tenant, request_id, version") == kept_events
    states_left = await ids(tables, FEEDBACK_STATE, "tenant, request_id, revision")
    assert {(*key, revision) for key, revision in newest.items()} <= states_left
    # ClickHouse may have merged older versions away by itself; of erased requests none is left.
    assert not {row for row in states_left if (key := row[:2]) in erased and takes_state(newest[key], row[2])}
    assert set((await tables.left(EVERY)).values()) == {0}
    assert await ids(tables, DEAD_LETTERS, "dlq_offset") == kept_letters


def _stored(rows: Rows) -> Rows:
    """Return the events that are stored: of one version, the last."""
    return list({(row["key"], row["version"]): row for row in rows}.values())
