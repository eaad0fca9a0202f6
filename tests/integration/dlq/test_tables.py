"""The table of dead letters: what is selected, and marks that stay."""

from datetime import timedelta
from itertools import product

import pytest

from schemas.tables import DEAD_LETTERS
from services.operations.dlq.core.dead_letter import DeadLetterId, DeadLetterState
from services.operations.dlq.core.statements import (
    DeadLetterSelection,
    correct,
    mark_dropped,
    mark_open,
    mark_replayed,
)
from services.operations.dlq.tables import DeadLetterTables, dead_letter_tables
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, rows
from tests.support.operations.dead_letters import FAILED_AT, a_letter, a_row, put

ODD = "r'1\\ü/{x:String}"
LETTERS = [
    a_letter(0),
    a_letter(1, tenant="acme", reason="crashed"),
    a_letter(2, request_id=ODD, stage="sink", reason="refused_by_clickhouse", original_version=2**63),
    a_letter(3, replayed_at=FAILED_AT),
    a_letter(4, dropped_at=FAILED_AT, tenant="", request_id="", stage="", reason="", original_version=None),
    a_letter(5, id=DeadLetterId("feedback-state-dlq", 0, 2), stage="sink", size=None),
    a_letter(6, failed_at=FAILED_AT - timedelta(days=400), original_version=2**48 + 9),
]
SELECTIONS = [
    DeadLetterSelection(),
    DeadLetterSelection(states=()),
    DeadLetterSelection(states=(DeadLetterState.REPLAYED, DeadLetterState.DROPPED)),
    DeadLetterSelection(ids=(LETTERS[0].id, LETTERS[3].id, LETTERS[5].id), states=()),
    DeadLetterSelection(
        ids=(LETTERS[0].id, DeadLetterId("feedback-state-dlq", 0, 0), DeadLetterId("no-topic", 7, 1)),
        states=(),
    ),
    DeadLetterSelection(reasons=("crashed", "row_too_large"), tenant="default"),
    DeadLetterSelection(stages=("sink",)),
    DeadLetterSelection(tenant="acme", states=()),
    DeadLetterSelection(request_id=ODD),
    DeadLetterSelection(request_id="", states=()),
    DeadLetterSelection(since=FAILED_AT, until=FAILED_AT + timedelta(minutes=2)),
    DeadLetterSelection(since=FAILED_AT + timedelta(microseconds=1), states=()),
    DeadLetterSelection(upto=(DeadLetterId("feedback-events-dlq", 0, 1),), states=()),
    DeadLetterSelection(upto=()),
]


@pytest.fixture
async def filled(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """A database with every kind of dead letter in it."""
    await create_tables(clickhouse_settings)
    for one in LETTERS:
        await put(clickhouse_settings, a_row(one, value=None if one.size is None else b"0123456789"))
    return clickhouse_settings


async def test_sql_selects_what_the_selection_covers(filled: ClickHouseSettings) -> None:
    """Lists, pages and counts agree with a plain filter; odd request ids are values, not SQL."""
    async with dead_letter_tables(filled) as store:
        for selection in SELECTIONS:
            expected = sorted((one for one in LETTERS if selection.covers(one)), key=lambda one: one.id)
            paged = [one async for page in store.pages(selection) for one in page]
            listed = await store.newest(selection, 0)
            count, last = await store.count(selection)

            assert paged == expected, selection
            assert listed == sorted(expected, key=lambda one: one.failed_at, reverse=True), selection
            assert count == len(expected), selection
            assert set(last) == {
                max(one.id for one in expected if one.id[0] == name)
                for name in {one.id.topic for one in expected}
            }


async def test_bytes_come_back_as_they_were(clickhouse_settings: ClickHouseSettings) -> None:
    """Keys and values that are no text, no value at all, and a correction."""
    await create_tables(clickhouse_settings)
    values = {0: bytes(range(256)), 1: b"", 2: None}
    await put(
        clickhouse_settings, *(a_row(a_letter(n), key=b"\xff\x00/'", value=v) for n, v in values.items())
    )
    async with dead_letter_tables(clickhouse_settings) as store:
        await store.mark(correct(a_letter(2).id, b"\x00'\\" * 200_000))
        found = await store.contents([a_letter(n).id for n in values])

    assert {one.offset: content.value for one, content in found.items()} == values
    assert {content.key for content in found.values()} == {b"\xff\x00/'"}
    assert found[a_letter(2).id].correction == b"\x00'\\" * 200_000


async def test_marks_stay_when_the_topic_is_read_again(filled: ClickHouseSettings) -> None:
    """Whatever the sink inserts once more is older; the latest mark counts, and nothing else changes."""
    first, second, third = (LETTERS[n].id for n in range(3))
    before = await _content(filled)
    async with dead_letter_tables(filled) as store:
        await store.mark(mark_dropped([first, second, third]))
        await store.mark(mark_open([second]))
        await store.mark(mark_replayed([third]))
        for one in LETTERS[:3]:
            await put(filled, a_row(one, value=b"0123456789"))
        found = {one.id: one for one in await store.newest(DeadLetterSelection(states=()), 0)}

    marked = [found[one] for one in (first, second, third)]
    assert [one.state for one in marked] == [
        DeadLetterState.DROPPED,
        DeadLetterState.OPEN,
        DeadLetterState.REPLAYED,
    ]
    assert marked[2].dropped_at is None
    assert await _content(filled) == before


async def _content(settings: ClickHouseSettings) -> list[tuple[object, ...]]:
    shown = "* EXCEPT (updated, stored_at, replayed_at, dropped_at)"
    return await rows(settings, f"SELECT {shown} FROM {DEAD_LETTERS} FINAL ORDER BY ALL")


async def test_a_mark_counts_though_the_clock_is_behind(clickhouse_settings: ClickHouseSettings) -> None:
    """A row from the future, as a broker with a wrong clock dates it, is marked all the same."""
    await create_tables(clickhouse_settings)
    future = {**a_row(a_letter(0)), "updated": FAILED_AT + timedelta(days=3650)}
    await put(clickhouse_settings, future)
    async with dead_letter_tables(clickhouse_settings) as store:
        await store.mark(mark_dropped([a_letter(0).id]))
        await store.mark(mark_open([a_letter(0).id]))
        await store.mark(mark_dropped([a_letter(0).id]))

        assert [one.state for one in await store.newest(DeadLetterSelection(states=()), 0)] == [
            DeadLetterState.DROPPED
        ]


async def test_a_correction_is_written_once(clickhouse_settings: ClickHouseSettings) -> None:
    """The second one changes nothing: one place in the order has one event."""
    await create_tables(clickhouse_settings)
    await put(clickhouse_settings, a_row(a_letter(0)))
    async with dead_letter_tables(clickhouse_settings) as store:
        for body, mark in product([b"first", b"second"], [mark_dropped, mark_open]):
            await store.mark(correct(a_letter(0).id, body))
            await store.mark(mark([a_letter(0).id]))

        assert (await _only(store)) == b"first"


async def _only(store: DeadLetterTables) -> bytes | None:
    return (await store.contents([a_letter(0).id]))[a_letter(0).id].correction
