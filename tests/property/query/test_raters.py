"""Each rater's latest values: ClickHouse's views compared with a replay of the events, one by one."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS
from services.merger.core.fold import fold
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, rows, run
from tests.support.merger.records import SOURCE, a_record, an_event
from tests.support.oracles.raters import Agreement, RaterEvent, RaterValue, agreement, number_of, raters

QUICK = settings(
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.too_slow,
    ],
    max_examples=8,
)

USERS = st.sampled_from(["ann", "ann", "bob", "bob", "Ünal", "", None, 5, ["ann"]])
VALUES = st.sampled_from(
    [
        None,
        None,
        5,
        4,
        5.0,
        0,
        -0.0,
        0.1,
        True,
        False,
        "5",
        "",
        'say "é"',
        "null",
        "true",
        [1],
        {"a": None},
        2**64 - 1,
    ]
)
KEYS = ("rating", "comment", "a.b", "é")


@st.composite
def merges(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the data of a merge, with and without a user id, and with a null in its place."""
    data = draw(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
    return data | ({"user_id": draw(USERS)} if draw(st.booleans()) or draw(st.booleans()) else {})


@st.composite
def histories(draw: st.DrawFn) -> list[RaterEvent]:
    """Draw the events of a request: merges, retracts, erases, repeats under one id, and refused ones."""
    events: list[RaterEvent] = []
    for version in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(["merge"] * 7 + ["retract", "erase"]))
        number = draw(st.sampled_from([version] * 5 + [0, 1]))
        events.append(
            RaterEvent(
                version=version,
                event_id=str(UUID(int=number + 1)),
                op=op,
                data=draw(merges()) if op == "merge" else None,
                refused=draw(st.sampled_from([False] * 7 + [True])),
            )
        )
    return events


@dataclass(frozen=True)
class RatedRequest:
    """The events of a request, and which of the refused ones were replayed afterwards."""

    events: list[RaterEvent]
    replayed: frozenset[int]

    @property
    def final(self) -> list[RaterEvent]:
        """The events with their final outcomes."""
        return [
            replace(event, refused=False) if event.version in self.replayed else event
            for event in self.events
        ]


@st.composite
def requests(draw: st.DrawFn) -> RatedRequest:
    """Draw a request; of the refused events some are replayed."""
    events = draw(histories())
    refused = [event.version for event in events if event.refused]
    return RatedRequest(
        events, frozenset(draw(st.sets(st.sampled_from(refused)))) if refused else frozenset()
    )


def event_rows(request_id: str, request: RatedRequest) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table: a replayed event has two, of which the later one counts."""
    for event in request.events:
        row = {
            "tenant": "default",
            "request_id": request_id,
            "version": event.version,
            "event_id": event.event_id,
            "op": event.op,
            "source": "native",
            "received_at": f"2026-11-22T09:00:{event.version:02d}.000001Z",
            "appended_at": "2026-11-22T09:00:00Z",
            "data": event.data or {},
            "log_partition": 0,
            "log_offset": event.version,
        }
        yield row
        if event.version in request.replayed:
            yield row | {"log_offset": 100 + event.version}


def letter_values(number: int, request_id: str, request: RatedRequest) -> Iterator[str]:
    """Yield the dead letters of a request, as the values of LETTER_COLUMNS."""
    for event in request.events:
        if event.refused:
            replayed = "'2026-11-22 10:00:00'" if event.version in request.replayed else "NULL"
            version = event.version
            yield f"({number}, {version}, 'default', '{request_id}', 'merger', {version}, {replayed})"


LETTER_COLUMNS = "dlq_partition, dlq_offset, tenant, request_id, stage, original_version, replayed_at"


@dataclass
class Tables:
    """Tables to fill and views to ask, from tests without an event loop of their own."""

    settings: ClickHouseSettings
    runner: asyncio.Runner

    def fill(self, world: dict[str, RatedRequest]) -> None:
        """Make these the only events; each is stored twice, in parts that ClickHouse has not merged."""
        events = [row for request_id, request in world.items() for row in event_rows(request_id, request)]
        letters = [
            values
            for number, (request_id, request) in enumerate(world.items())
            for values in letter_values(number, request_id, request)
        ]
        for table in (FEEDBACK_EVENTS, DEAD_LETTERS):
            self.runner.run(run(self.settings, f"TRUNCATE TABLE {table}"))
        for part in (events, events[::2]):
            self.runner.run(insert(self.settings, FEEDBACK_EVENTS, part))
        if letters:
            stored = f"INSERT INTO {DEAD_LETTERS} ({LETTER_COLUMNS}) VALUES {', '.join(letters)}"
            self.runner.run(run(self.settings, stored))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.runner.run(rows(self.settings, query))


@pytest.fixture
def tables(clickhouse_settings: ClickHouseSettings) -> Iterator[Tables]:
    """Make the tables in a database of this test's own."""
    with asyncio.Runner() as runner:
        runner.run(create_tables(clickhouse_settings))
        yield Tables(clickhouse_settings, runner)


def shown_by_view(tables: Tables) -> dict[str, dict[tuple[str, str], RaterValue]]:
    """Return what the view of raters shows of each request; its other columns are checked against these."""
    found: dict[str, dict[tuple[str, str], RaterValue]] = {}
    for request_id, key, rater, json, number, text, version, second in tables.ask(
        "SELECT request_id, key, rater, value, number, text, version, toSecond(received_at)"
        " FROM feedback_raters WHERE tenant = 'default'"
    ):
        value = orjson.loads(json)
        assert number == number_of(value)
        assert text == (value if isinstance(value, str) else json)
        assert second == version
        own = found.setdefault(request_id, {})
        assert (key, rater) not in own
        own[key, rater] = RaterValue(value, version)
    return found


@QUICK
@given(st.lists(requests(), min_size=1, max_size=6))
def test_each_rater_has_the_latest_value_that_the_events_give(
    tables: Tables, several: list[RatedRequest]
) -> None:
    """Nulls, retracts, erases, repeats, refused and replayed events, of any of several raters."""
    world = {f"r{number}": request for number, request in enumerate(several)}
    tables.fill(world)

    expected = {name: given for name, request in world.items() if (given := raters(request.final))}

    found = shown_by_view(tables)
    assert orjson.dumps(_plain(found)) == orjson.dumps(_plain(expected))
    shown = {
        (request_id, key): Agreement(count, mean, least, most, disagreement, orjson.loads(latest))
        for request_id, key, count, mean, least, most, disagreement, latest in tables.ask(
            "SELECT request_id, key, raters, mean, min, max, disagreement, latest FROM feedback_agreement"
            " WHERE tenant = 'default'"
        )
    }
    keys = {(name, key) for name, given in expected.items() for key, _ in given}
    assert shown.keys() == keys
    for name, key in keys:
        one, other = shown[name, key], agreement(expected[name], key)
        assert replace(one, mean=None, disagreement=0) == replace(other, mean=None, disagreement=0)
        assert one.disagreement == pytest.approx(other.disagreement)
        assert one.mean == (None if other.mean is None else pytest.approx(other.mean))


def _plain(found: dict[str, dict[tuple[str, str], RaterValue]]) -> list[Any]:
    return sorted(
        [name, key, rater, one.version, _number_or(one.value)]
        for name, given in found.items()
        for (key, rater), one in given.items()
    )


def _number_or(value: Any) -> Any:
    """Return a number as a float: two writers of JSON may write one number differently."""
    return value if isinstance(value, bool) or not isinstance(value, int | float) else float(value) + 0


@given(st.lists(st.tuples(st.sampled_from(["merge"] * 6 + ["retract", "erase"]), merges()), max_size=12))
def test_the_row_has_the_value_of_the_latest_rater(steps: list[tuple[str, dict[str, Any]]]) -> None:
    """The views and the merge obey the same laws: without user ids, they are the same."""
    assert_row_is_latest(steps, one_rater=False)
    assert_row_is_latest(
        [(op, {key: value for key, value in data.items() if key != "user_id"}) for op, data in steps],
        one_rater=True,
    )


def assert_row_is_latest(steps: list[tuple[str, dict[str, Any]]], *, one_rater: bool) -> None:
    """Check that the merger's row has only latest values; `one_rater`: and all of them."""
    records = [
        a_record(number, an_event(number, op=op, data=data if op == "merge" else None))
        for number, (op, data) in enumerate(steps)
    ]
    merged = fold(records, {}, SOURCE).rows.get(b"default/r1")
    row = {} if merged is None else orjson.loads(merged.value).get("data", {})
    given = raters(
        RaterEvent(number, str(number), op, data if op == "merge" else None)
        for number, (op, data) in enumerate(steps)
    )
    for key in row.keys() - {"user_id"}:
        assert agreement(given, key).latest == row[key]
    if one_rater:
        assert {key for key, _ in given} == row.keys()
