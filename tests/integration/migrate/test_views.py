"""What the views for analysts show."""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from schemas.tables import migrations
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, rows, run, state_row
from tests.support.eventually import eventually

BEFORE_THE_VIEWS = 6
VIEWS = [
    "feedback",
    "feedback_agreement",
    "feedback_daily",
    "feedback_history",
    "feedback_raters",
    "feedback_values",
]


def event(version: int, number: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return an event of request `r` as the sink stores it; its id is made of `number`, or of its version."""
    return {
        "tenant": "default",
        "request_id": "r",
        "version": version,
        "event_id": str(UUID(int=number or version)),
        "op": "merge",
        "source": "native",
        "received_at": "2026-11-22T09:00:00Z",
        "appended_at": "2026-11-22T09:00:00Z",
        "data": {},
        "request": {},
        "log_partition": 0,
        "log_offset": version,
        **fields,
    }


async def history(settings: ClickHouseSettings) -> list[tuple[Any, ...]]:
    """Return what the history of all requests shows."""
    return await rows(
        settings, "SELECT version, op, set_keys, cleared_keys FROM feedback_history ORDER BY version"
    )


async def test_history_shows_what_each_event_set_and_cleared(clickhouse_settings: ClickHouseSettings) -> None:
    """A null clears; facts of the request are told from feedback."""
    await create_tables(clickhouse_settings)
    first = event(1, data={"rating": 5, "a.b": [1]}, request={"model": "m"})
    await insert(
        clickhouse_settings,
        "feedback_events",
        [first, event(2, data={"rating": None}), event(3, op="retract")],
    )

    assert await history(clickhouse_settings) == [
        (1, "merge", ["data.rating", "data.a.b", "request.model"], []),
        (2, "merge", [], ["data.rating"]),
        (3, "retract", [], []),
    ]


async def test_history_leaves_out_repeats_and_what_was_refused(
    clickhouse_settings: ClickHouseSettings,
) -> None:
    """Stored twice, sent twice under one key, or dead-lettered; a replayed one is back in its place."""
    await create_tables(clickhouse_settings)
    once = event(1, data={"rating": 5})
    refused, replayed = event(3, data={"rating": 1}), event(4, data={"rating": 2})
    await insert(clickhouse_settings, "feedback_events", [once, event(2, number=1, idempotent=True)])
    await insert(clickhouse_settings, "feedback_events", [once, refused, replayed])
    await run(
        clickhouse_settings,
        "INSERT INTO dead_letters (dlq_offset, tenant, request_id, stage, original_version, replayed_at)"
        " VALUES (1, 'default', 'r', 'merger', 3, NULL),"
        " (2, 'default', 'r', 'merger', 4, '2026-11-22 10:00:00')",
    )

    assert [row[0] for row in await history(clickhouse_settings)] == [1, 4]


async def test_history_forgets_what_was_erased(clickhouse_settings: ClickHouseSettings) -> None:
    """It begins with the erase."""
    await create_tables(clickhouse_settings)
    await insert(
        clickhouse_settings,
        "feedback_events",
        [event(1, data={"comment": "private"}), event(2, op="erase"), event(3, data={"rating": 4})],
    )

    assert [row[:2] for row in await history(clickhouse_settings)] == [(2, "erase"), (3, "merge")]


@pytest.mark.parametrize("is_swept", [False, True])
async def test_an_id_from_before_an_erase_counts_again_after_it(
    clickhouse_settings: ClickHouseSettings,
    is_swept: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """As in the merge, and whether or not the events from before the erase are deleted yet."""
    await create_tables(clickhouse_settings)
    before, after = event(1, data={"rating": 5}), event(3, number=1, data={"rating": 4})
    await insert(
        clickhouse_settings,
        "feedback_events",
        [
            *([] if is_swept else [before]),
            event(2, op="erase"),
            after,
            event(4, number=1, data={"rating": 4}),
        ],
    )

    assert [row[:2] for row in await history(clickhouse_settings)] == [(2, "erase"), (3, "merge")]


async def test_history_has_item_ids_and_times_as_clients_sent_them(
    clickhouse_settings: ClickHouseSettings,
) -> None:
    """Empty and NULL where they sent none."""
    await create_tables(clickhouse_settings)
    sent = event(1, item_id="score/é 1", at="2026-11-21T23:59:59.250001Z")
    await insert(clickhouse_settings, "feedback_events", [sent, event(2)])

    found = await rows(clickhouse_settings, "SELECT item_id, at FROM feedback_history ORDER BY version")

    assert found == [
        ("score/é 1", datetime(2026, 11, 21, 23, 59, 59, 250001)),  # noqa: DTZ001 (the client returns UTC so)
        ("", None),
    ]


@pytest.mark.parametrize("tenant", ["", " AND tenant = 'default'"])
async def test_an_item_is_found_by_its_id_without_a_scan(
    clickhouse_settings: ClickHouseSettings, tenant: str
) -> None:
    """Of twenty granules, the index leaves those with the item, and rarely another one.

    Merges make it: inserts do without, for their speed.
    """
    await create_tables(clickhouse_settings)
    stored = [
        event(number, request_id=f"r{number:05}", item_id=f"score-{number}") for number in range(20_480)
    ]
    await insert(clickhouse_settings, "feedback_events", stored)
    await run(clickhouse_settings, "OPTIMIZE TABLE feedback_events FINAL")
    query = f"SELECT tenant, request_id FROM feedback_events WHERE item_id = 'score-777'{tenant}"

    plan = "\n".join(line for (line,) in await rows(clickhouse_settings, f"EXPLAIN indexes = 1 {query}"))

    left, granules = map(int, re.findall(r"Granules: (\d+)/(\d+)", plan[plan.index("item_ids") :])[0])
    assert granules >= 20
    assert 1 <= left <= 3
    assert await rows(clickhouse_settings, query) == [("default", "r00777")]


async def test_values_have_their_type_number_and_text(clickhouse_settings: ClickHouseSettings) -> None:
    """One row for each key, with the value as JSON has it, too."""
    await create_tables(clickhouse_settings)
    data = {
        "n": 1.5,
        "big": 2**63,
        "s": 'say "é"',
        "digits": "12",
        "yes": True,
        "l": [1, None],
        "o": {"k": 1},
    }
    await insert(clickhouse_settings, "feedback_state", [state_row("r", data=data, request={"n": "other"})])

    found = await rows(
        clickhouse_settings,
        "SELECT part, key, type, json, number, text FROM feedback_values ORDER BY part, key",
    )

    assert found == [
        ("data", "big", "number", "9223372036854775808", float(2**63), "9223372036854775808"),
        ("data", "digits", "string", '"12"', None, "12"),
        ("data", "l", "array", "[1,null]", None, "[1,null]"),
        ("data", "n", "number", "1.5", 1.5, "1.5"),
        ("data", "o", "object", '{"k":1}', None, '{"k":1}'),
        ("data", "s", "string", '"say \\"é\\""', None, 'say "é"'),
        ("data", "yes", "boolean", "true", None, "true"),
        ("request", "n", "string", '"other"', None, "other"),
    ]


async def test_daily_counts_stay_exact_when_a_vote_changes(clickhouse_settings: ClickHouseSettings) -> None:
    """The old vote is gone from the counts, and an erased request is, too; nothing has to be merged first."""
    await create_tables(clickhouse_settings)
    counts = "SELECT sum(requests), sum(positive), sum(negative), sum(rating_sum) FROM feedback_daily"
    first = [state_row("a", 1, data={"rating": 5}), state_row("b", 2, data={"rating": 4})]
    await insert(clickhouse_settings, "feedback_state", first)
    assert await rows(clickhouse_settings, counts) == [(2, 2, 0, 9.0)]

    changed = [state_row("a", 3, data={"rating": 1}), state_row("b", 4, is_deleted=1)]
    await insert(clickhouse_settings, "feedback_state", changed)

    assert await rows(clickhouse_settings, counts) == [(1, 0, 1, 1.0)]


async def test_a_day_is_that_of_the_request(clickhouse_settings: ClickHouseSettings) -> None:
    """Where it is not known when the request started, that of its first event."""
    await create_tables(clickhouse_settings)
    started = state_row("a", request={"started_at": "2026-03-01T23:59:59Z"})
    await insert(clickhouse_settings, "feedback_state", [started, state_row("b", 2)])

    days = await rows(clickhouse_settings, "SELECT toString(day), requests FROM feedback_daily ORDER BY day")

    assert days == [("2026-03-01", 1), ("2026-11-22", 1)]


@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_asks_in_the_name_of_its_reader(
    clickhouse_settings: ClickHouseSettings, view: str
) -> None:
    """Whatever a server's default is: else a row policy on the tables would not reach through it."""
    await create_tables(clickhouse_settings)

    ((text, first),) = await rows(
        clickhouse_settings,
        "SELECT create_table_query, (SELECT name FROM system.columns WHERE database = currentDatabase()"
        f" AND table = '{view}' AND position = 1) FROM system.tables"
        f" WHERE database = currentDatabase() AND name = '{view}'",
    )

    assert "SQL SECURITY INVOKER" in text
    assert first == "tenant"


async def test_an_installation_without_the_views_is_brought_up_to_date(
    clickhouse_settings: ClickHouseSettings,
) -> None:
    """Its rows stay, and those from before are in the projection, which FINAL's answer proves."""
    old = [migration for migration in migrations() if migration.number <= BEFORE_THE_VIEWS]
    new = [migration for migration in migrations() if migration.number > BEFORE_THE_VIEWS]
    for migration in old:
        for statement in migration.statements:
            await run(clickhouse_settings, statement)
    stored = [
        state_row("a", data={"rating": 5}),
        state_row("b", 2),
        state_row("c", request={"started_at": "2026-01-02T03:04:05+0100"}),
        state_row("d", request={"started_at": 9999999999}),
    ]
    await insert(clickhouse_settings, "feedback_state", stored)

    for _ in range(2):
        for migration in new:
            for statement in migration.statements:
                await run(clickhouse_settings, statement)

    await eventually(lambda: _is_done(clickhouse_settings), within=60)
    flags = (
        "SELECT request_id, has_feedback, has_comment, orphan, started_at FROM feedback_state {}"
        " WHERE tenant = 'default' ORDER BY last_received_at, request_id"
    )
    expected = [
        ("a", True, False, True, None),
        ("b", False, False, True, None),
        ("c", False, False, False, datetime(2026, 1, 2, 2, 4, 5)),  # noqa: DTZ001 (UTC)
        ("d", False, False, False, None),
    ]
    assert await rows(clickhouse_settings, flags.format("FINAL")) == expected
    assert await rows(clickhouse_settings, flags.format("")) == expected


async def _is_done(settings: ClickHouseSettings) -> bool:
    running = "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done"
    stored = (
        "SELECT groupUniqArray(name), sum(rows) FROM system.projection_parts"
        " WHERE database = currentDatabase() AND active"
    )
    done = await rows(settings, running) == [(0,)]
    return done and await rows(settings, stored) == [(["by_time"], 4)]
