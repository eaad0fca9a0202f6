"""Rebuilds of tables on a real Kafka and a real ClickHouse engine, beside a sink that runs."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, takewhile
from typing import Any

import pytest

from schemas.identity import event_key, partition_of
from schemas.tables import DEAD_LETTERS, ERASED_REQUESTS, FEEDBACK, FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import Topology
from services.operations.exits import DONE
from services.operations.rebuild.core.scope import RebuildScope
from services.operations.rebuild.core.statements import BUILDING, GATE
from services.operations.rebuild.run import RebuildOptions, tables
from services.operations.rebuild.settings import RebuildSettings
from services.runtime.settings import load
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables as sql
from tests.support.eventually import eventually
from tests.support.merger.state_log import ends, write
from tests.support.operations.command import ROOT
from tests.support.operations.rebuild import (
    TABLES,
    a_state,
    an_event,
    contents,
    delete_records,
    fill,
    raters,
    raw,
    rebuild,
)
from tests.support.sink.runs import is_stored, running


async def marking(settings: SinkSettings) -> str:
    """Return the statement that drops a dead letter, as `afterword dlq` does."""
    own = {"dropped_at": "now64(6)", "updated": "now64(6)", "stored_at": "now64(6)"}
    names = [
        name
        for (name,) in await sql.rows(
            settings,
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'dead_letters'"
            " AND default_kind != 'EPHEMERAL'",
        )
    ]
    values = ", ".join(f"{own[name]} AS {name}" if name in own else name for name in names)
    return (
        f"INSERT INTO dead_letters ({', '.join(names)}) SELECT {values} FROM dead_letters FINAL"
        " WHERE dlq_offset = 1"
    )


async def stored(settings: SinkSettings) -> bool:
    """Return whether all that `fill` wrote is there."""
    ((letters, events),) = await sql.rows(
        settings,
        f"SELECT (SELECT count() FROM {DEAD_LETTERS} FINAL), (SELECT count() FROM {FEEDBACK_EVENTS} FINAL)",
    )
    return bool(letters >= 5 and events >= 160 and await is_stored(settings))


@asynccontextmanager
async def filled(settings: SinkSettings) -> AsyncIterator[dict[str, list[tuple[Any, ...]]]]:
    """Run a sink, and yield what the tables say once it has stored a log."""
    await fill(settings)
    async with running(settings):
        await eventually(lambda: stored(settings), within=60)
        await sql.run(settings, await marking(settings))
        yield await contents(settings)


def away_from(partition: int) -> list[str]:
    """Return request ids of `fill` whose events of both tenants lie in other partitions."""
    return [
        name
        for name in (f"r{number}" for number in range(1, 40))
        if all(partition_of(event_key(tenant, name), 4) != partition for tenant in ("acme", "other"))
    ]


GONE, CHANGED, HIGHER, COPIED, WATCHED = away_from(0)[:5]


async def tamper(settings: SinkSettings) -> None:
    """Take rows away, change them, and make some up, for both tenants."""
    state = "INSERT INTO feedback_state (revision, tenant, request_id, version, data)"
    of = "FROM feedback_state FINAL WHERE request_id ="
    events, own = "INSERT INTO feedback_events SELECT * REPLACE", "SELECT * FROM feedback_events FINAL WHERE"
    for change in (
        f"DELETE FROM {FEEDBACK_STATE} WHERE request_id = '{GONE}'",
        f"DELETE FROM {FEEDBACK_EVENTS} WHERE request_id = '{GONE}'",
        f"DELETE FROM {DEAD_LETTERS} WHERE dlq_offset = 2",
        f"{state} SELECT revision, tenant, request_id, version, '{{}}' {of} '{CHANGED}'",
        f"{state} SELECT revision + 1000000, tenant, request_id, version, '{{}}' {of} '{HIGHER}'",
        f"{state} SELECT revision, tenant, 'made-up', version, '{{}}' {of} '{COPIED}'",
        f"{events} ('{{}}' AS data) FROM feedback_events FINAL WHERE request_id = '{CHANGED}'",
        # In brackets, since the condition would be about the new name.
        f"{events} ('made-up' AS request_id) FROM ({own} request_id = '{COPIED}')",
    ):
        await sql.run(settings, change)


class Watcher:
    """Asks all the time how much there is; what it saw never becomes less."""

    def __init__(self, settings: SinkSettings) -> None:
        self.settings, self.seen, self.steps_back = settings, 0, list[Any]()

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until stopped."""
        asked = (
            f"SELECT (SELECT count() FROM {FEEDBACK} WHERE tenant = 'live'),"
            f" (SELECT max(revision) FROM {FEEDBACK_STATE} WHERE tenant = 'live'),"
            f" (SELECT count() FROM {FEEDBACK_EVENTS} FINAL WHERE tenant = 'live'),"
            f" (SELECT count() FROM {FEEDBACK} WHERE request_id = '{WATCHED}')"
        )
        before: tuple[Any, ...] = (0, 0, 0, 0)
        while not stop.is_set():
            (now,) = await sql.rows(self.settings, asked)
            if any(new < old for new, old in zip(now, before, strict=True)):
                self.steps_back.append((before, now))
            before, self.seen = now, self.seen + 1
            await asyncio.sleep(0.05)  # some twenty looks a second, on a machine that has time for them


async def keep_writing(settings: SinkSettings, stop: asyncio.Event) -> None:
    """Append states and events of a tenant of its own until stopped."""
    topology = Topology(settings.kafka_topic_generation)
    for number in takewhile(lambda _: not stop.is_set(), count()):
        ids = [("live", f"n{number}-{one}") for one in range(5)]
        await write(settings, topology.state, [a_state(*one) for one in ids], transactional=True)
        await write(settings, topology.events, [an_event(*one) for one in ids])
        await asyncio.sleep(0.5)  # a pace that leaves the machine to the others


@asynccontextmanager
async def live(settings: SinkSettings) -> AsyncIterator[Watcher]:
    """Write and watch for the block, in which no reader may see a step back."""
    watcher, stop = Watcher(settings), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run(stop))
        group.create_task(keep_writing(settings, stop))
        try:
            yield watcher
        finally:
            stop.set()
    assert watcher.seen
    assert watcher.steps_back == []


async def leftovers(settings: SinkSettings) -> list[str]:
    """Return tables of a rebuild that should be gone, and signs of one on those that stay."""
    rows = await sql.rows(
        settings,
        "SELECT name, comment, create_table_query FROM system.tables WHERE database = currentDatabase()",
    )
    return [
        name
        for name, comment, made in rows
        if name.removesuffix("_before_rebuild").endswith(("_rebuild", "_feed", "_scope"))
        or (GATE in made or comment == BUILDING)
    ]


MINE = "tenant IN ('acme', 'other')"


async def test_tables_are_rebuilt_with_no_gap(settings: SinkSettings, variables: dict[str, str]) -> None:
    """What was done to rows is undone; history and marks stay; readers see no step back; nothing is lost."""
    topology = Topology(settings.kafka_topic_generation)
    async with filled(settings) as before:
        rated = await raters(settings, MINE)
        assert {row[3] for row in rated if row[2] == "rating"} >= {"", "ann"}
        await tamper(settings)
        assert await raters(settings, MINE) != rated
        await delete_records(settings, topology.events, {0: 10})
        definitions = await made(settings)
        async with live(settings):
            out = await rebuild(variables, "--json")
            planned = json.loads(next(line for line in out.splitlines() if line.startswith('{"plan"')))
            assert [one["table"] for one in planned["plan"]["tables"]] == list(TABLES)
            out = await rebuild(variables, "--yes", expect=1)
        assert "left out" in out
        assert await contents(settings, MINE) == before
        assert await raters(settings, MINE) == rated
        assert await made(settings) == definitions
        assert await leftovers(settings) == []
        await eventually(lambda: is_stored(settings))
        written = sum(await ends(settings, topology.events)) - 160

        async def all_there() -> bool:
            ((rows,),) = await sql.rows(
                settings, f"SELECT count() FROM {FEEDBACK_EVENTS} FINAL WHERE tenant = 'live'"
            )
            return bool(rows == written)

        await eventually(all_there)
    assert "made-up" in str(await raw(settings, f"{FEEDBACK_STATE}_before_rebuild", "request_id = 'made-up'"))
    await rebuild(variables, "--drop-old", "--yes")
    assert "no rebuild kept" in await rebuild(variables, "--drop-old", "--yes")


async def made(settings: SinkSettings) -> dict[str, str]:
    """Return what makes each of the three tables: columns, indexes, projections, settings, comments."""
    asked = "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    return {name: text for name, text in await sql.rows(settings, asked) if name in TABLES}


async def killed(variables: dict[str, str], *arguments: str) -> str:
    """Run rebuilds that are killed on their way; what each came to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.operations.killed_rebuilds",
        *arguments,
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return "\n".join(line for line in out.decode().splitlines() if line.split()[1:] in (["-9"], ["0"], ["1"]))


async def test_a_rebuild_may_be_killed_anywhere(settings: SinkSettings, variables: dict[str, str]) -> None:
    """After SIGKILL at each point the same call continues, and inserts continue meanwhile."""
    async with filled(settings) as before:
        await tamper(settings)
        async with live(settings):
            points = ("gated", "swapped")
            out = await killed(variables, *points, "--", "state")
            assert out.splitlines() == [f"{point} -9" for point in points]
            assert await rebuild(variables, "--abort")
        assert (await contents(settings, MINE))[FEEDBACK_STATE] == before[FEEDBACK_STATE]
        assert await leftovers(settings) == []


async def test_one_tenant_is_put_right_and_no_other_row_is_touched(
    settings: SinkSettings, variables: dict[str, str]
) -> None:
    """Wrong rows of other tenants and times are unchanged, byte by byte; killed, it continues."""
    async with filled(settings) as before:
        await tamper(settings)
        others = {table: await raw(settings, table, "tenant = 'other'") for table in TABLES}
        async with live(settings):
            out = await killed(variables, "deleted", "--", "tenant=acme")
            await rebuild(variables, "--tenant", "acme", "--yes")
        assert out.splitlines() == ["deleted -9"]
        acme = {table: [row for row in rows if "acme" in row] for table, rows in before.items()}
        assert await contents(settings, "tenant = 'acme'") == acme
        for table in TABLES:
            assert await raw(settings, table, "tenant = 'other'") == others[table]
        await sql.run(settings, f"OPTIMIZE TABLE {FEEDBACK_STATE} FINAL")
        assert await contents(settings, "tenant = 'acme'") == acme
        assert await leftovers(settings) == []
        await rebuild(variables, "--to", "1d", "--table", "events", "--yes")
        assert await raw(settings, FEEDBACK_EVENTS, "tenant = 'other'") == others[FEEDBACK_EVENTS]
        await rebuild(variables, "--from", "1d", "--table", "events", "--yes")
        assert (await contents(settings, MINE))[FEEDBACK_EVENTS] == before[FEEDBACK_EVENTS]


async def erase(settings: SinkSettings, request_id: str) -> None:
    """Leave of a request of `acme` what an erasure leaves, once the sink has stored it."""
    key, topology = event_key("acme", request_id), Topology(settings.kafka_topic_generation)
    await write(settings, topology.state, [(key, None)], transactional=True)
    await eventually(lambda: is_stored(settings))
    mine = f"tenant = 'acme' AND request_id = '{request_id}'"
    erased = (
        f"INSERT INTO {ERASED_REQUESTS} (tenant, request_id, version) SELECT tenant, request_id, max(version)"
    )
    await sql.run(settings, f"{erased} FROM {FEEDBACK_EVENTS} WHERE {mine} GROUP BY tenant, request_id")
    await sql.run(settings, f"ALTER TABLE {FEEDBACK_EVENTS} DELETE WHERE {mine} SETTINGS mutations_sync = 2")


@pytest.mark.parametrize("keep_unknown", [False, True])
async def test_what_is_erased_meanwhile_neither_comes_back_nor_stops_it(
    settings: SinkSettings, variables: dict[str, str], *, keep_unknown: bool
) -> None:
    """A tenant's rows are put right from a log that was read before the erasure."""
    erased = ("r1", "r2", "r3")
    names = iter(erased)

    async def passed(point: str) -> None:
        if point == "built":
            await erase(settings, next(names))

    async with filled(settings) as before:
        wanted = RebuildOptions(scope=RebuildScope("acme"), keep_unknown=keep_unknown)
        own = load(RebuildSettings, variables)
        assert await tables(own, wanted, lambda _: True, passed) == DONE
        after = await contents(settings, "tenant = 'acme'")
    for table in (FEEDBACK_EVENTS, FEEDBACK_STATE):
        rest = [row for row in before[table] if "acme" in row and not any(name in row for name in erased)]
        assert after[table] == rest
    assert next(names, None) is None


async def test_rows_that_the_log_does_not_know_may_stay(
    settings: SinkSettings, variables: dict[str, str]
) -> None:
    """With --keep-unknown, what the log knows is put right all the same."""
    async with filled(settings) as before:
        await tamper(settings)
        await rebuild(variables, "--tenant", "acme", "--keep-unknown", "--yes")
        after = await contents(settings, "tenant = 'acme'")
    for table in (FEEDBACK_EVENTS, FEEDBACK_STATE):
        assert [row for row in after[table] if "made-up" not in row] == [
            r for r in before[table] if "acme" in r
        ]
        assert any("made-up" in row for row in after[table]), table
