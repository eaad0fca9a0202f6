"""The merger as a process: probes, ends of every kind, and two of them at once."""

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.deadletters import Reason, parse_headers
from schemas.identity import partition_of
from schemas.topics import Topology
from services.pipeline.offsets import offsets
from services.runtime.kafka.clients import client_options
from services.runtime.settings import KafkaSettings
from tests.integration.merger.test_partition import committed_is
from tests.support.eventually import eventually
from tests.support.kafka.foreign_headers import write_foreign
from tests.support.merger.partitions import R1, Scene, commit, committed, read_committed, truth_of
from tests.support.merger.process import MergerProcess
from tests.support.merger.records import a_record, an_event
from tests.support.merger.states import shown

PARTITIONS = 4
Start = Callable[..., MergerProcess]


@pytest.fixture
async def mergers(kafka_settings: KafkaSettings, tmp_path: Path) -> AsyncIterator[Start]:
    """Return a function that makes merger processes; each is killed at the end."""
    made: list[MergerProcess] = []

    def make(instance: int = 1, **variables: str) -> MergerProcess:
        made.append(MergerProcess(kafka_settings, tmp_path, instance, **variables))
        return made[-1]

    yield make
    for merger in made:
        merger.signal(signal.SIGCONT)
        await merger.kill()


class Feeder:
    """Appends events to all partitions, some of them broken."""

    def __init__(self, kafka: KafkaSettings, topology: Topology) -> None:
        self._kafka, self._topic = kafka, topology.events.name
        self._dice = random.Random(7)
        self.count = 0

    async def feed(self, count: int) -> None:
        """Append so many events, and return once Kafka has them."""
        producer = AIOKafkaProducer(**client_options(self._kafka, "tests"), enable_idempotence=True)
        await producer.start()
        try:
            await asyncio.gather(*[await self._send(producer) for _ in range(count)])
        finally:
            await producer.stop()

    async def _send(self, producer: AIOKafkaProducer) -> asyncio.Future[object]:
        number, self.count = self.count, self.count + 1
        names = self._dice.sample("abcde", self._dice.randint(1, 3))
        event = an_event(
            number,
            request_id=f"r{self._dice.randrange(300)}",
            op=self._dice.choices(["merge", "retract", "erase"], [96, 3, 1])[0],
        )
        if event["op"] == "merge":
            event[self._dice.choice(["data", "request"])] = dict.fromkeys(names, number)
        record = a_record(number, event)
        value = b"{" if self._dice.random() < 0.002 else record.value
        assert record.key is not None
        partition = partition_of(record.key, PARTITIONS)
        sent: asyncio.Future[object] = await producer.send(
            self._topic, value, record.key, partition=partition
        )
        return sent


@pytest.fixture
def feeder(kafka_settings: KafkaSettings, topology: Topology) -> Feeder:
    """Return what appends events."""
    return Feeder(kafka_settings, topology)


async def drained(kafka: KafkaSettings, topology: Topology) -> bool:
    """Return whether everything was merged and committed."""
    for number in range(PARTITIONS):
        records = await read_committed(kafka, topology.events, number)
        if records and await committed(kafka, topology, number) != records[-1].offset + 1:
            return False
    return True


async def check_truth(kafka: KafkaSettings, topology: Topology) -> None:
    """Compare all rows and dead letters with what the oracle makes of the log."""
    await eventually(lambda: drained(kafka, topology), within=90, every=0.3)
    letters = []
    for number in range(PARTITIONS):
        truth = truth_of(topology, await read_committed(kafka, topology.events, number))
        rows = {record.key: record.value for record in await read_committed(kafka, topology.state, number)}

        assert truth.rows == {key: shown(row) for key, row in rows.items()}
        letters += truth.dead
    given_up = await read_committed(kafka, topology.events_dlq)
    stories = [parse_headers(record.headers) for record in given_up]
    assert sorted(letters) == sorted(
        (story.original_partition, story.original_offset, story.reason.value) for story in stories
    )


async def test_probes_report_its_state_and_it_stops_in_order(
    mergers: Start, feeder: Feeder, kafka_settings: KafkaSettings, topology: Topology
) -> None:
    """Ready with all partitions open, before any event; metrics; at SIGTERM it leaves its group."""
    merger = mergers()
    await merger.start()
    assert "merger_partitions 4.0" in (await merger.get("/metrics"))[1]

    await feeder.feed(200)
    await check_truth(kafka_settings, topology)
    status, page = await merger.get("/metrics")

    assert (await merger.get("/livez"))[0] == status == 200
    assert 'merger_events_total{outcome="merged"}' in page
    assert await merger.stop() == 0
    async with offsets(kafka_settings, "tests") as kafka:
        # It would count for MERGER_SESSION_SECONDS otherwise, and nobody would have its partitions.
        assert await kafka.members([topology.merger_group]) == {topology.merger_group: 0}


async def test_kills_lose_nothing_and_repeat_nothing(
    mergers: Start, feeder: Feeder, kafka_settings: KafkaSettings, topology: Topology
) -> None:
    """Kill -9 of two mergers, by turns, while events arrive: every row is that of a calm day."""
    pair = [mergers(1), mergers(2)]
    await asyncio.gather(*(merger.start() for merger in pair))
    for turn in range(4):
        await feeder.feed(1_500)
        await pair[turn % 2].kill()
        await feeder.feed(200)
        await pair[turn % 2].start()

    await check_truth(kafka_settings, topology)


async def test_a_merger_that_was_stopped_for_too_long_damages_nothing(
    mergers: Start, feeder: Feeder, kafka_settings: KafkaSettings, topology: Topology
) -> None:
    """Its probes fall silent, another takes over, and what it does when it wakes up is fenced."""
    sleeper, other = mergers(1), mergers(2)
    await asyncio.gather(sleeper.start(), other.start())
    await feeder.feed(2_000)
    sleeper.signal(signal.SIGSTOP)
    assert await sleeper.get("/livez") == (None, "")
    await feeder.feed(500)
    await eventually(lambda: drained(kafka_settings, topology), within=60, every=0.3)
    sleeper.signal(signal.SIGCONT)
    await feeder.feed(500)

    await check_truth(kafka_settings, topology)


async def test_liveness_fails_when_events_wait_and_nothing_moves(
    mergers: Start, kafka_settings: KafkaSettings, feeder: Feeder, topology: Topology
) -> None:
    """A merger that its group keeps out: first the probe says so, then the process ends."""
    options = client_options(kafka_settings, "tests")
    intruder = AIOKafkaConsumer(
        topology.events.name,
        **options,
        group_id=topology.merger_group,
        session_timeout_ms=120_000,  # on a busy machine it must not lose its place
        max_poll_interval_ms=300_000,
        enable_auto_commit=False,  # it begins at the end, which may lie behind the events by then
    )
    await intruder.start()
    try:
        await feeder.feed(50)
        merger = mergers(MERGER_STALL_SECONDS="3")
        merger._is_ready = lambda: _is_failing(merger)  # type: ignore[method-assign]
        await merger.start()
        assert merger.child is not None
        assert await asyncio.to_thread(merger.child.wait, 60.0) == 1
    finally:
        await intruder.stop()

    assert "though events wait" in merger.said()


async def _is_failing(merger: MergerProcess) -> bool:
    status, body = await merger.get("/livez")
    return status == 503 and "no progress in partitions" in body


async def test_two_mergers_do_not_share_a_directory(mergers: Start) -> None:
    """The second one says what to change."""
    first, second = mergers(), mergers()
    await first.start()
    with pytest.raises(RuntimeError, match="ended with 2:"):
        await second.start()

    assert "MERGER_INSTANCE=2" in second.said()


async def test_it_refuses_a_log_that_was_cut_and_stays_to_report_it(mergers: Start, scene: Scene) -> None:
    """It is alive, not ready, and names what mends it."""
    await commit(scene.kafka, scene.topology, 99)
    merger = mergers()
    starting = asyncio.create_task(merger.start())

    await eventually(lambda: _refuses(merger), within=60)

    assert (await merger.get("/livez"))[0] == 200
    assert "refused to continue" in merger.said()
    starting.cancel()


async def _refuses(merger: MergerProcess) -> bool:
    status, body = await merger.get("/readyz")
    return status == 503 and "is beyond the log's end" in body and "afterword " in body


async def test_a_header_whose_name_is_not_text_is_dead_lettered_and_stops_nothing(
    mergers: Start, scene: Scene
) -> None:
    """Nor does it take the events beside it along, in the batch in which a foreign program wrote them all."""
    good = [a_record(number, an_event(number, request_id=R1, data={f"k{number}": 1})) for number in range(3)]
    names = [None, b"na\xffme", None]
    batch = [(one.key or b"", one.value or b"", name) for one, name in zip(good, names, strict=True)]
    await write_foreign(scene.kafka, scene.topology.events.name, 0, batch)
    merger = mergers()
    await merger.start()
    await eventually(lambda: committed_is(scene, 3), within=30)

    (letter,) = await scene.letters()
    (row,) = (await scene.rows()).values()
    assert (letter.reason, letter.original_offset) == (Reason.MALFORMED_EVENT, 1)
    assert "name that is not UTF-8" in letter.detail
    assert row is not None
    assert json.loads(row)["data"] == {"k0": 1, "k2": 1}
    assert await merger.stop() == 0


async def test_it_waits_for_kafka(tmp_path: Path) -> None:
    """It is alive and not ready, and says what it waits for."""
    merger = MergerProcess(KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1"), tmp_path)
    with pytest.raises(AssertionError):
        await eventually(merger._is_ready, within=0)
    merger._is_ready = lambda: _waits(merger)  # type: ignore[method-assign]
    try:
        await merger.start()
        assert (await merger.get("/livez"))[0] == 200
        assert await merger.stop() == 0
    finally:
        await merger.kill()


async def _waits(merger: MergerProcess) -> bool:
    status, body = await merger.get("/readyz")
    return status == 503 and "does not answer" in body
