"""What the sink relies on in ClickHouse, whose releases move defaults and codes."""

from dataclasses import replace

import pytest

from schemas.tables import DEAD_LETTERS, FEEDBACK, FEEDBACK_EVENTS, FEEDBACK_STATE
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.insert import ClickHouseWriter, RowsRefusedError, UnavailableError
from services.runtime.settings import ClickHouseSettings
from services.sink.core.rows import DEAD_LETTER_COLUMNS, dead_letter_line, event_line, state_line
from tests.support.clickhouse import tables
from tests.support.sink.doubles import KEY, FakeRecord, event, letter, state


@pytest.fixture
async def settings(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """Make the tables in a database of this test's own."""
    await tables.create_tables(clickhouse_settings)
    return clickhouse_settings


MISTAKES = [
    b'{"revision":1,"tenant":"t","request_id":"r","version":-1}',
    b'{"revision":1,"tenant":"t","request_id":"r","version":1.5}',
    b'{"revision":1,"tenant":"t","request_id":"r","version":"x"}',
    b'{"revision":1,"tenant":"t","request_id":"r","last_received_at":"soon"}',
    b'{"revision":1,"tenant":"t","request_id":"r","sources":5}',
    b'{"revision":1,"tenant":"t","request_id":"r","tenant":"t"}',
    b'{"revision":1,"tenant":"t","request_id":"r"',
    b'{"revision":1,"tenant":"","request_id":"r"}',
    b'{"revision":1,"tenant":"t","request_id":""}',
    b'{"revision":1,"tenant":"t"}',
    b'{"tenant":"t","request_id":"r"}',
    b'{"revision":1,"tenant":"t","request_id":"r"}{"tenant":"t","request_id":"s"}',
    b'{"revision":1,"tenant":"t","request_id":"r","x":NaN}',
]


async def test_a_row_that_the_merger_can_not_have_meant_is_refused(settings: ClickHouseSettings) -> None:
    """Each by a code that makes the sink look for it, not retry for ever; nothing beside it is stored."""
    writer = ClickHouseWriter(settings, 30)
    taken = []
    for line in MISTAKES:
        try:
            await writer.insert(FEEDBACK_STATE, [state_line(state(), 0), line])
            taken.append(line)
        except RowsRefusedError:
            pass
    await writer.close()

    assert taken == []
    assert await tables.rows(settings, f"SELECT count() FROM {FEEDBACK_STATE}") == [(0,)]


async def test_a_missing_table_is_retried(settings: ClickHouseSettings) -> None:
    """Somebody will migrate; the rows are not at fault."""
    writer = ClickHouseWriter(settings, 30)

    with pytest.raises(UnavailableError, match="Code: 60"):
        await writer.insert("no_such_table", [state_line(state(), 0)])

    await writer.close()


async def test_the_first_record_of_the_first_generation_has_revision_zero(
    settings: ClickHouseSettings,
) -> None:
    """And is stored like any other."""
    writer = ClickHouseWriter(settings, 30)
    await writer.insert(FEEDBACK_STATE, [state_line(state("first", 0, data={"rating": "amazing"}), 0)])
    await writer.close()

    found = await tables.rows(settings, f"SELECT request_id, rating, vote, sentiment FROM {FEEDBACK}")

    assert found == [("first", 5.0, "amazing", "positive")]


async def test_an_erased_request_disappears_and_may_come_back(settings: ClickHouseSettings) -> None:
    """The highest revision decides, whatever order rows are inserted and merged in."""
    writer = ClickHouseWriter(settings, 30)
    erased = FakeRecord(None, state("gone").key, 5)
    await writer.insert(FEEDBACK_STATE, [state_line(state("gone", 1), 0), state_line(erased, 0)])
    assert await tables.rows(settings, f"SELECT request_id FROM {FEEDBACK}") == []

    await writer.insert(FEEDBACK_STATE, [state_line(state("gone", 3), 0)])
    assert await tables.rows(settings, f"SELECT request_id FROM {FEEDBACK}") == []

    await writer.insert(FEEDBACK_STATE, [state_line(state("gone", 6), 0)])
    await writer.close()
    assert await tables.rows(settings, f"SELECT request_id FROM {FEEDBACK}") == [("gone",)]


async def test_a_replayed_event_takes_the_place_of_the_one_it_repeats(settings: ClickHouseSettings) -> None:
    """One row for each version, and the newest record of it counts."""
    writer = ClickHouseWriter(settings, 30)
    first, other = event(offset=7, data={"a": 1}), event(offset=8)
    again = event(offset=90, headers=[("afterword-replay-version", b"7")], data={"a": 2})
    for record in (again, first, other):
        await writer.insert(FEEDBACK_EVENTS, [event_line(record, 0) or b""])
    await writer.close()

    found = await tables.rows(
        settings,
        f"SELECT version, log_offset, data FROM {FEEDBACK_EVENTS} FINAL"
        " WHERE tenant = 'acme' AND request_id = 'chat/1' ORDER BY version",
    )

    assert found[0] == (7, 90, '{"a":2}')
    assert [row[0] for row in found] == [7, 8]


async def test_dead_letters_come_back_byte_for_byte(settings: ClickHouseSettings) -> None:
    """Whoever looks into one sees what stood in the log."""
    values = [bytes(range(256)), b"", b"\xff\xfe\x00\n{", '"ü\n\\'.encode(), None]
    lines = [
        dead_letter_line(replace(letter(value), offset=number), 0) for number, value in enumerate(values)
    ]
    writer = ClickHouseWriter(settings, 30)
    await writer.insert(DEAD_LETTERS, lines, DEAD_LETTER_COLUMNS)
    await writer.close()

    found = await tables.rows(
        settings, f"SELECT hex(raw), hex(key), reason FROM {DEAD_LETTERS} ORDER BY dlq_offset"
    )

    shown = [None if value is None else value.hex().upper() for value in values]
    assert found == [(one, KEY.hex().upper(), "malformed_event") for one in shown]


async def test_words_of_comments_are_found_by_their_index_whatever_their_case(
    settings: ClickHouseSettings,
) -> None:
    """Also beyond ASCII, and with the same answer as without the index."""
    comments = ["Eine Rarität!", "rarität, wirklich", "Raritäten", "nothing of the kind"]
    writer = ClickHouseWriter(settings, 30)
    lines = [
        state_line(state(f"r-{number}", number, data={"comment": comment}), 0)
        for number, comment in enumerate(comments)
    ]
    await writer.insert(FEEDBACK_STATE, lines)
    await writer.close()
    query = (
        f"SELECT request_id FROM {FEEDBACK} WHERE hasToken(lowerUTF8(comment), 'rarität') ORDER BY request_id"
    )

    found = await tables.rows(settings, query)
    plain = await tables.rows(settings, f"{query} SETTINGS use_skip_indexes = 0")
    plan = await tables.rows(settings, f"EXPLAIN indexes = 1 {query}")

    assert found == plain == [("r-0",), ("r-1",)]
    assert any("comment_words" in line for (line,) in plan)


MANY = 200_000


async def test_the_queries_of_a_reader_touch_few_rows(settings: ClickHouseSettings) -> None:
    """One request, the newest requests, a rare word: none may read the whole table of a tenant."""
    await tables.run(
        settings,
        f"""INSERT INTO {FEEDBACK_STATE} (revision, tenant, request_id, last_received_at, data)
        SELECT number, 't', concat('r-', hex(sipHash64(number))), toDateTime64(1700000000 + number, 6, 'UTC'),
               if(number = 7, '{{"comment": "a Rare word"}}', '{{"comment": "ordinary"}}')
        FROM numbers({MANY})""",
    )
    some = (
        f"SELECT request_id FROM {FEEDBACK_STATE} WHERE tenant = 't' ORDER BY last_received_at DESC LIMIT 100"
    )
    one = "concat('r-', hex(sipHash64(5)))"
    limits = {
        f"SELECT * FROM {FEEDBACK} WHERE tenant = 't' AND request_id = {one}": 2 * 1024,
        some: 4 * 1024,
        f"SELECT * FROM {FEEDBACK} WHERE tenant = 't' AND hasToken(lowerUTF8(comment), 'rare')": 4 * 1024,
        f"SELECT * FROM {FEEDBACK} WHERE tenant = 't' AND request_id IN"
        f" (SELECT request_id FROM ({some}) LIMIT 1 BY request_id LIMIT 10)": 16 * 1024,
    }

    read = {query: await _rows_read(settings, query) for query in limits}

    assert {query: rows for query, rows in read.items() if rows > limits[query]} == {}


async def _rows_read(settings: ClickHouseSettings, query: str) -> int:
    client = await connect(settings)
    try:
        return int((await client.query(query)).summary["read_rows"])
    finally:
        await client.close()
