"""From the topics to the tables, on a real Kafka and a real ClickHouse engine."""

import asyncio
from dataclasses import replace

import orjson

from schemas.deadletters import REPLAY_VERSION_HEADER, Reason, headers_of
from schemas.identity import event_key, version_of
from schemas.tables import DEAD_LETTERS, FEEDBACK, FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import STATE_ROUTE, Topology
from services.pipeline.survey import committed
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables
from tests.support.eventually import eventually
from tests.support.kafka.foreign_headers import write_foreign
from tests.support.merger.state_log import ends, reset_group, values, write
from tests.support.sink.doubles import EVENT, LETTER, state
from tests.support.sink.runs import count, counted, is_stored, running


def states(first: int, number: int, **fields: object) -> list[tuple[bytes | None, bytes | None]]:
    """Return keys and values of states of as many requests."""
    made = [state(f"r-{one:06}", one, **fields) for one in range(first, first + number)]
    return [(one.key, one.value) for one in made]


async def stored(settings: SinkSettings, number: int, within: float = 30) -> None:
    """Wait until so many requests have a row and every position is at its log's end."""

    async def check() -> bool:
        return await count(settings) == number and await is_stored(settings)

    await eventually(check, within=within, every=0.2)


async def test_each_topic_reaches_its_table(settings: SinkSettings) -> None:
    """One state, one event, its replay, one dead letter of each topic; positions pass transaction markers."""
    topology = Topology(settings.kafka_topic_generation)
    key = event_key("acme", "chat/1")
    event = orjson.dumps(EVENT)
    async with running(settings):
        await write(settings, topology.state, states(0, 20, data={"rating": 5}), transactional=True)
        await write(settings, topology.events, [(b"x/y", b"no event"), (key, event)])
        await write(settings, topology.events, [(key, event, [(REPLAY_VERSION_HEADER, b"0")])])
        await write(settings, topology.events_dlq, [(key, b"\xff\x00", headers_of(LETTER))])
        await write(settings, topology.state_dlq, [(b"", None)], transactional=True)
        await stored(settings, 20)
        await eventually(
            lambda: tables.rows(settings, f"SELECT 1 FROM {DEAD_LETTERS} LIMIT 1 OFFSET 1"), within=20
        )
        await eventually(
            lambda: tables.rows(settings, f"SELECT 1 FROM {FEEDBACK_EVENTS} LIMIT 1 OFFSET 1"), within=20
        )

    events = await tables.rows(
        settings,
        f"SELECT version = log_offset, request_id, data FROM {FEEDBACK_EVENTS} FINAL ORDER BY log_offset",
    )
    letters = await tables.rows(
        settings, f"SELECT dlq_topic, reason, hex(raw) FROM {DEAD_LETTERS} FINAL ORDER BY dlq_topic"
    )
    assert events == [
        (True, "chat/1", '{"rating":5,"ü":[0.00001]}'),
        (False, "chat/1", '{"rating":5,"ü":[0.00001]}'),
    ]
    assert letters == [
        (topology.events_dlq.name, "malformed_event", "FF00"),
        (topology.state_dlq.name, "", None),
    ]
    assert await tables.rows(settings, f"SELECT DISTINCT rating, sentiment FROM {FEEDBACK}") == [
        (5.0, "positive")
    ]


async def test_a_header_whose_name_is_not_text_stops_no_route(settings: SinkSettings) -> None:
    """Such an event is the merger's to give up; beside it, and among dead letters, everything is stored."""
    topology = Topology(settings.kafka_topic_generation)
    key, event = event_key("acme", "chat/1"), orjson.dumps(EVENT)
    await write_foreign(
        settings, topology.events.name, 1, [(key, event, None), (key, event, b"\xff"), (key, event, None)]
    )
    await write_foreign(settings, topology.events_dlq.name, 0, [(key, b"what it was", b"\xff")])
    async with running(settings):
        offsets = f"SELECT groupArray(log_offset) FROM (SELECT * FROM {FEEDBACK_EVENTS} ORDER BY log_offset)"
        letters = f"SELECT raw, detail FROM {DEAD_LETTERS} FINAL"
        base = version_of(topology.generation, 0)
        await eventually(
            lambda: _gives(settings, offsets, [([base, base + 2],)]),
            within=30,
        )
        ((raw, detail),) = await eventually(lambda: tables.rows(settings, letters), within=30)

    assert raw == "what it was"
    assert detail.startswith("headers that are not Afterword's")


async def _gives(settings: SinkSettings, query: str, expected: list[tuple[object, ...]]) -> bool:
    return await tables.rows(settings, query) == expected


async def test_a_null_value_hides_the_request(settings: SinkSettings) -> None:
    """An erased request leaves the view, and stays away when it is read again."""
    topology = Topology(settings.kafka_topic_generation)
    (kept, erased) = states(0, 2)
    async with running(settings):
        await write(settings, topology.state, [kept, erased])
        await stored(settings, 2)
        await write(settings, topology.state, [(erased[0], None)])
        await stored(settings, 1)

    assert await tables.rows(settings, f"SELECT request_id FROM {FEEDBACK}") == [("r-000000",)]


async def test_a_poisoned_row_among_many_is_dead_lettered_and_shown(settings: SinkSettings) -> None:
    """9,999 rows are stored; the other one is found, explained, and readable in SQL."""
    topology = Topology(settings.kafka_topic_generation)
    settings = settings.replace(sink_flush_seconds=1.0)
    entries = states(0, 10_000)
    bad = state("r-004321", 4321, version="poison")
    entries[4321] = (bad.key, bad.value)
    before = counted("sink_dead_letters_total", route=STATE_ROUTE)
    await write(settings, topology.state, entries)
    async with running(settings):
        await stored(settings, 9_999, within=60)
        (letter,) = await eventually(
            lambda: tables.rows(
                settings,
                f"SELECT request_id, stage, reason, original_topic, raw, detail FROM {DEAD_LETTERS} FINAL",
            ),
            within=30,
        )

    assert letter[:5] == (
        "r-004321",
        "sink",
        Reason.REFUSED_BY_CLICKHOUSE,
        topology.state.name,
        (bad.value or b"").decode(),
    )
    assert "Code: " in letter[5]
    assert counted("sink_dead_letters_total", route=STATE_ROUTE) == before + 1
    assert len(await values(settings, topology.state_dlq)) == 1


async def test_the_largest_row_and_the_largest_dead_letter_reach_sql(settings: SinkSettings) -> None:
    """Sizes that the topics allow pass every stage; an ordinary row after them does, too."""
    topology = Topology(settings.kafka_topic_generation)
    row = state("large", 0, data={"comment": "x" * (4 << 20)})
    value = b"\xff" * (topology.events_dlq.max_message_bytes - 4096)
    letter = replace(LETTER, detail="a large one")
    async with running(settings):
        await write(
            settings, topology.state, [(row.key, row.value), (state("large-2").key, state("large-2").value)]
        )
        await write(settings, topology.events_dlq, [(b"k", value, headers_of(letter))])
        await stored(settings, 2)
        (found,) = await eventually(
            lambda: tables.rows(settings, f"SELECT length(raw), detail FROM {DEAD_LETTERS}"), within=30
        )

    assert found == (len(value), "a large one")
    lengths = await tables.rows(settings, f"SELECT length(comment) FROM {FEEDBACK} ORDER BY request_id")
    assert lengths == [(4 << 20,), (0,)]


async def test_reading_everything_again_changes_no_row(settings: SinkSettings) -> None:
    """An operator may set the group back: the same rows, the same answers."""
    topology = Topology(settings.kafka_topic_generation)
    await write(settings, topology.state, states(0, 500))
    await write(settings, topology.state, states(100, 200, data={"rating": 1}), transactional=True)
    await write(settings, topology.state, [(states(7, 1)[0][0], None)])
    fingerprint = (
        "SELECT count(), sum(cityHash64(revision, is_deleted, tenant, request_id, version, data, rating))"
        f" FROM {FEEDBACK_STATE} FINAL"
    )
    async with running(settings):
        await stored(settings, 499)
    first = await tables.rows(settings, fingerprint)
    await reset_group(settings, topology.sink_group(STATE_ROUTE), topology.state, 0)
    before = counted("sink_rows_stored_total", route=STATE_ROUTE)

    async with running(settings):
        await eventually(lambda: _is_read_again(settings, topology, before + 500), within=30)

    assert await tables.rows(settings, fingerprint) == first


async def _is_read_again(settings: SinkSettings, topology: Topology, rows: float) -> bool:
    """Return whether everything was stored once more: a row of each request at least."""
    group, topic = topology.sink_group(STATE_ROUTE), topology.state
    found = await committed(settings, "test", group, topic.name, 4)
    at_end = sorted(one.offset for one in found) == sorted(await ends(settings, topic))
    return at_end and counted("sink_rows_stored_total", route=STATE_ROUTE) >= rows


async def test_a_new_database_is_filled_from_the_log(settings: SinkSettings) -> None:
    """ClickHouse lost or replaced: the group's offsets do not keep the sink from reading all of it."""
    topology = Topology(settings.kafka_topic_generation)
    await write(settings, topology.state, states(0, 50))
    async with running(settings):
        await stored(settings, 50)
    for table in (FEEDBACK_STATE, "sink_positions"):
        await tables.run(settings, f"TRUNCATE TABLE {table}")

    async with running(settings):
        await stored(settings, 50)


async def test_a_restored_backup_is_caught_up(settings: SinkSettings) -> None:
    """ClickHouse with older rows and older positions: what it lost is read again."""
    topology = Topology(settings.kafka_topic_generation)
    await write(settings, topology.state, states(0, 50))
    async with running(settings):
        await stored(settings, 50)
    await tables.run(settings, f"DELETE FROM {FEEDBACK_STATE} WHERE request_id >= 'r-000020'")
    await tables.run(settings, "TRUNCATE TABLE sink_positions")
    for partition in range(4):
        row = {"route": STATE_ROUTE, "topic": topology.state.name, "partition": partition, "position": 0}
        await tables.insert(settings, "sink_positions", [{**row, "appended_at": "2026-11-22T08:00:00Z"}])

    async with running(settings):
        await stored(settings, 50)


async def test_two_sinks_share_the_work_and_hand_it_over(settings: SinkSettings) -> None:
    """A second one joins in the middle of the load and leaves again: nothing is lost or given up."""
    topology = Topology(settings.kafka_topic_generation)
    second = settings.replace(sink_batch_rows=200, sink_metrics_port=0)
    async with running(settings.replace(sink_batch_rows=100)):
        await write(settings, topology.state, states(0, 1_000))
        async with running(second):
            for first in range(1_000, 4_000, 500):
                await write(settings, topology.state, states(first, 500))
                await asyncio.sleep(0.2)
        await write(settings, topology.state, states(4_000, 1_000))
        await stored(settings, 5_000, within=120)

    assert await ends(settings, topology.state_dlq) == [0]


async def test_stopping_stores_what_was_read(settings: SinkSettings) -> None:
    """A batch that is not due yet is written before the sink leaves."""
    topology = Topology(settings.kafka_topic_generation)
    slow = settings.replace(sink_flush_seconds=60.0)
    async with running(slow):
        await write(settings, topology.state, states(0, 100))
        await eventually(lambda: counted("sink_open_rows", route=STATE_ROUTE) == 100, within=30)
        assert await count(settings) == 0

    assert await count(settings) == 100


async def test_no_record_of_the_state_topic_can_stop_the_sink(settings: SinkSettings) -> None:
    """What nobody could have written is dead-lettered with its reason, and the row after it is stored."""
    topology = Topology(settings.kafka_topic_generation)
    odd = [(b"", b""), (b"k", b"[]"), (b"\xfe", b"\xff"), (b"no slash", None), (b"", None), *states(0, 1)]
    async with running(settings):
        await write(settings, topology.state, odd)
        await stored(settings, 1)

    letters = await values(settings, topology.state_dlq)
    assert sorted(str(value) for value, _ in letters) == sorted(map(str, [b"", b"[]", b"\xff", None, None]))
    assert {headers["afterword-stage"] for _, headers in letters} == {b"sink"}
