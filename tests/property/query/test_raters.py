"""What each rater says: as ClickHouse computes it from events, and as replaying them one by one gives it."""

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
    max_examples=15,
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
    """Draw what a rater says; some say nothing of themselves, or clear their own name."""
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
class Told:
    """The events of a request, and which of the refused ones were replayed afterwards."""

    events: list[RaterEvent]
    replayed: frozenset[int]

    @property
    def final(self) -> list[RaterEvent]:
        """The events with what became of them in the end."""
        return [
            replace(event, refused=False) if event.version in self.replayed else event
            for event in self.events
        ]


@st.composite
def requests(draw: st.DrawFn) -> Told:
    """Draw a request; of the refused events some are replayed."""
    events = draw(histories())
    refused = [event.version for event in events if event.refused]
    return Told(events, frozenset(draw(st.sets(st.sampled_from(refused)))) if refused else frozenset())


def event_rows(request_id: str, told: Told) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table: a replayed event has two, of which the later one counts."""
    for event in told.events:
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
        if event.version in told.replayed:
            yield row | {"log_offset": 100 + event.version}


def letter_values(number: int, request_id: str, told: Told) -> Iterator[str]:
    """Yield the dead letters of a request, as the values of LETTER_COLUMNS."""
    for event in told.events:
        if event.refused:
            replayed = "'2026-11-22 10:00:00'" if event.version in told.replayed else "NULL"
            version = event.version
            yield f"({number}, {version}, 'default', '{request_id}', 'merger', {version}, {replayed})"


LETTER_COLUMNS = "dlq_partition, dlq_offset, tenant, request_id, stage, original_version, replayed_at"


@dataclass
class Tables:
    """Tables to fill and views to ask, from tests without an event loop of their own."""

    settings: ClickHouseSettings
    runner: asyncio.Runner

    def fill(self, world: dict[str, Told]) -> None:
        """Make these the only events; each is stored twice, in parts that ClickHouse has not merged."""
        events = [row for request_id, told in world.items() for row in event_rows(request_id, told)]
        letters = [
            values
            for number, (request_id, told) in enumerate(world.items())
            for values in letter_values(number, request_id, told)
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


def told_by_view(tables: Tables) -> dict[str, dict[tuple[str, str], RaterValue]]:
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
def test_each_rater_s_latest_word_is_what_the_events_come_to(tables: Tables, several: list[Told]) -> None:
    """Nulls, retracts, erases, repeats, refused and replayed events, of any of several raters."""
    world = {f"r{number}": told for number, told in enumerate(several)}
    tables.fill(world)

    expected = {name: said for name, told in world.items() if (said := raters(told.final))}

    found = told_by_view(tables)
    assert orjson.dumps(_plain(found)) == orjson.dumps(_plain(expected))
    shown = {
        (request_id, key): Agreement(count, mean, least, most, disagreement, orjson.loads(latest))
        for request_id, key, count, mean, least, most, disagreement, latest in tables.ask(
            "SELECT request_id, key, raters, mean, min, max, disagreement, latest FROM feedback_agreement"
            " WHERE tenant = 'default'"
        )
    }
    keys = {(name, key) for name, said in expected.items() for key, _ in said}
    assert shown.keys() == keys
    for name, key in keys:
        one, other = shown[name, key], agreement(expected[name], key)
        assert replace(one, mean=None, disagreement=0) == replace(other, mean=None, disagreement=0)
        assert one.disagreement == pytest.approx(other.disagreement)
        assert one.mean == (None if other.mean is None else pytest.approx(other.mean))


def _plain(found: dict[str, dict[tuple[str, str], RaterValue]]) -> list[Any]:
    return sorted(
        [name, key, rater, one.version, _number_or(one.value)]
        for name, said in found.items()
        for (key, rater), one in said.items()
    )


def _number_or(value: Any) -> Any:
    """Return a number as a float: two writers of JSON may write one number differently."""
    return value if isinstance(value, bool) or not isinstance(value, int | float) else float(value) + 0


@given(st.lists(st.tuples(st.sampled_from(["merge"] * 6 + ["retract", "erase"]), merges()), max_size=12))
def test_the_row_has_the_word_of_the_rater_who_spoke_last(steps: list[tuple[str, dict[str, Any]]]) -> None:
    """The views and the merge obey the same laws: where nobody names a user, they are the same."""
    assert_row_is_latest(steps, everybody=False)
    assert_row_is_latest(
        [(op, {key: value for key, value in data.items() if key != "user_id"}) for op, data in steps],
        everybody=True,
    )


def assert_row_is_latest(steps: list[tuple[str, dict[str, Any]]], *, everybody: bool) -> None:
    """Check that the merger's row has only latest words; `everybody`: there is one rater, so all of them."""
    records = [
        a_record(number, an_event(number, op=op, data=data if op == "merge" else None))
        for number, (op, data) in enumerate(steps)
    ]
    merged = fold(records, {}, SOURCE).rows.get(b"default/r1")
    row = {} if merged is None else orjson.loads(merged.value).get("data", {})
    said = raters(
        RaterEvent(number, str(number), op, data if op == "merge" else None)
        for number, (op, data) in enumerate(steps)
    )
    for key in row.keys() - {"user_id"}:
        assert agreement(said, key).latest == row[key]
    if everybody:
        assert {key for key, _ in said} == row.keys()
