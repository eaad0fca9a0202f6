"""Bugs planted on purpose: the judge finds each of them.

Two of them strike once, at the worst moment, and need no more than some seconds.  The others need a whole
Kafka, or a session that times out; `make planted` runs them too.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest

from chaos.copies import fill
from chaos.invented import Traffic
from chaos.judge import Kind, Verdict, Where, judge, judge_survivors
from chaos.ledger import Ledger, send
from chaos.planted import sink as sinks
from chaos.planted.merger import EARLY, VARIANT
from chaos.planted.once import ONCE
from schemas.topics import Topology
from services.local import probes
from services.local.ports import free_port
from services.local.processes import Child, Command, python_module
from services.pipeline.offsets import offsets
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.sink.settings import SinkSettings
from tests.support.chaos.obligations import promise
from tests.support.eventually import eventually
from tests.support.merger.partitions import NOWHERE
from tests.support.merger.process import MergerProcess
from tests.support.merger.state_log import ends
from tests.support.operations.dead_letters import environ
from tests.support.sink.runs import SinkProgram, is_stored, migrated
from tests.support.stack.local_servers import OwnKafka, OwnWarehouse
from tests.support.stack.restartable import Program

PLANTED = "PLANTED"
takes_long = pytest.mark.skipif(not os.environ.get(PLANTED), reason=f"takes long; set {PLANTED}=1")
_WITHIN = 90.0


class PlantedSink(SinkProgram):
    """A sink with the bug; one that commits too early dies once, in the middle of it."""

    def __init__(self, settings: SinkSettings, directory: Path, **variables: str) -> None:
        self._variables = variables
        super().__init__(settings, directory)

    def _command(self) -> Command:
        right = super()._command()
        environment = {**right.environment, ONCE: str(self.log.with_name("planted")), **self._variables}
        return python_module("chaos.planted.sink", environment=environment)


class PlantedMerger(MergerProcess):
    """A merger with the bug."""

    def _command(self) -> Command:
        return python_module("chaos.planted.merger", environment=self._environment)


class PlantedIngest(Program):
    """An ingest with the bug."""

    def __init__(self, kafka: KafkaSettings, directory: Path) -> None:
        self._kafka, self._home, self.port = kafka, directory, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(self._command, self._is_ready, directory / "ingest.log")

    def _command(self) -> Command:
        variables = {
            "KAFKA_BOOTSTRAP_SERVERS": self._kafka.kafka_bootstrap_servers,
            "CLICKHOUSE_URL": NOWHERE,
            "AFTERWORD_HOME": str(self._home),
            "INGEST_PORT": str(self.port),
        }
        return python_module("chaos.planted.ingest", environment={**os.environ, **variables})

    async def _is_ready(self) -> bool:
        return (await asyncio.to_thread(probes.get, self.port, "/readyz"))[0] == 200


@pytest.fixture
async def settings(kafka_settings: KafkaSettings, clickhouse_settings: ClickHouseSettings) -> SinkSettings:
    """Settings that lead to topics and tables of this test's own."""
    return await migrated(kafka_settings, clickhouse_settings)


@asynccontextmanager
async def running(*programs: Program) -> AsyncIterator[None]:
    """Run programs for the block."""
    async with AsyncExitStack() as ending:
        for program in programs:
            ending.push_async_callback(program.kill)
            await program.start()
        yield


@asynccontextmanager
async def doomed(program: Program) -> AsyncIterator[None]:
    """Start a program, wait until it has killed itself, and run it again for the block."""
    try:
        program.child = Child(program._prepare(), program.log)
        assert await asyncio.to_thread(program.child.wait, _WITHIN) == -signal.SIGKILL
        await program.start()
        yield
    finally:
        await program.kill()


def _events(count: int, said: int) -> list[dict[str, object]]:
    return [{"request_id": f"r-{number}", "data": {"said": said, "n": number}} for number in range(count)]


async def _is_merged(settings: SinkSettings, group: str, topic: str) -> bool:
    """Return whether a group stands at the end of a topic."""
    async with offsets(settings, "test") as asked:
        end = await asked.ends(await asked.partitions([topic]))
        committed = await asked.committed(group)
    return all(committed.get(place, 0) >= at for place, at in end.items())


async def _judged(settings: SinkSettings, ledger: Path, home: Path) -> Verdict:
    kafka = KafkaSettings(**settings.model_dump(include=set(KafkaSettings.model_fields)))
    clickhouse = ClickHouseSettings(**settings.model_dump(include=set(ClickHouseSettings.model_fields)))
    return await judge(ledger, kafka, clickhouse, [home / "merger", home / "merger-2"])


async def _stored(settings: SinkSettings) -> None:
    await eventually(lambda: is_stored(settings), within=_WITHIN, every=0.2)


async def test_a_sink_that_commits_before_it_writes_is_found(settings: SinkSettings, tmp_path: Path) -> None:
    """Killed between the two, it leaves out what it had in hand."""
    ledger = tmp_path / "ledger"
    await promise(settings, ledger, _events(50, said=1))
    sink = PlantedSink(settings, tmp_path)
    async with running(MergerProcess(settings, tmp_path)):
        await _merges(settings)
    async with doomed(sink):
        await _stored(settings)
        verdict = await _judged(settings, ledger, tmp_path)

    assert verdict.counts[Kind.LOST, Where.ROW] > 0
    assert {kind for kind, _ in verdict.counts} == {Kind.LOST}, verdict


async def test_a_merger_that_commits_before_it_sends_is_found(settings: SinkSettings, tmp_path: Path) -> None:
    """Killed between the two, it never merges what it had in hand."""
    ledger = tmp_path / "ledger"
    await promise(settings, ledger, _events(50, said=1))
    merger = PlantedMerger(settings, tmp_path, 1, **{VARIANT: EARLY, ONCE: str(tmp_path / "planted")})
    async with doomed(merger):
        await _merges(settings)
    async with running(SinkProgram(settings, tmp_path)):
        await _stored(settings)
        verdict = await _judged(settings, ledger, tmp_path)

    assert verdict.counts[Kind.LOST, Where.STATE] > 0
    assert verdict.counts[Kind.LOST, Where.ROW] == verdict.counts[Kind.LOST, Where.STATE], verdict


@takes_long
async def test_a_sink_that_trusts_a_restored_clickhouse_is_found(
    kafka_settings: KafkaSettings, own_warehouse: OwnWarehouse, tmp_path: Path
) -> None:
    """What was stored after the copy was taken is missing for ever."""
    settings = await migrated(kafka_settings, own_warehouse.settings)
    ledger, copy = tmp_path / "ledger", tmp_path / "copy"
    sink = PlantedSink(settings, tmp_path, **{sinks.VARIANT: sinks.TRUSTING})
    async with running(MergerProcess(settings, tmp_path), sink):
        for said in (1, 2):
            await promise(settings, ledger, _events(50, said))
            await _merges(settings)
            await _stored(settings)
            await own_warehouse.kill()
            fill(*((copy, own_warehouse.data) if said == 1 else (own_warehouse.data, copy)))
            await own_warehouse.start()
        # In every partition, so that all positions are written over the restored ones.
        late = [{"request_id": f"late-{number}", "data": {"said": 3}} for number in range(50)]
        await promise(settings, ledger, late)
        await _merges(settings)
        await _stored(settings)
    verdict = await _judged(settings, ledger, tmp_path)

    assert verdict.counts[Kind.LOST, Where.ROW] > 0, verdict
    assert verdict.counts[Kind.LOST, Where.EVENTS] > 0, verdict


@takes_long
async def test_a_recovery_that_forgets_old_rows_is_found(
    own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """New feedback is merged into nothing, and takes the place of what was said before."""
    before = await migrated(own_kafka.settings, clickhouse_settings)
    ledger = tmp_path / "ledger"
    async with running(MergerProcess(before, tmp_path), SinkProgram(before, tmp_path)):
        await promise(before, ledger, _additions(50, said=1))
        await _merges(before)
        await _stored(before)
    await own_kafka.kill()
    shutil.rmtree(own_kafka.directory / "data")
    await own_kafka.start()
    variables = environ(before) | {"AFTERWORD_HOME": str(tmp_path)}
    command = python_module("chaos.planted.recover", "recover", "--yes", environment=variables)
    done = await asyncio.to_thread(subprocess.run, command.argv, env=dict(command.environment), check=False)
    assert done.returncode == 0
    after = before.replace(kafka_topic_generation=2)
    async with running(MergerProcess(after, tmp_path), SinkProgram(after, tmp_path)):
        await promise(after, ledger, _additions(50, said=2))
        await _merges(after)
        await _stored(after)
    verdict = await judge_survivors(ledger, clickhouse_settings)

    assert verdict.counts == {(Kind.LOST, Where.ROW): 50}, verdict


def _additions(count: int, said: int) -> list[dict[str, object]]:
    """Return events that add a field to each of some requests."""
    return [{"request_id": f"r-{number}", "data": {f"m{said}": number}} for number in range(count)]


async def _merges(settings: SinkSettings) -> None:
    topology = Topology(settings.kafka_topic_generation)
    group, topic = topology.merger_group, topology.events.name
    await eventually(lambda: _is_merged(settings, group, topic), within=_WITHIN, every=0.2)


@takes_long
async def test_mergers_without_fencing_are_found(settings: SinkSettings, tmp_path: Path) -> None:
    """A zombie sends, once it wakes up, what it had in hand before another one took over."""
    ledger, state = tmp_path / "ledger", Topology(settings.kafka_topic_generation).state
    variables = {ONCE: str(tmp_path / "planted")}
    mergers = [PlantedMerger(settings, tmp_path, number, **variables) for number in (1, 2)]
    async with running(*mergers):
        await promise(settings, ledger, _events(50, said=1))
        (frozen,) = await eventually(
            lambda: [merger for merger in mergers if _is_frozen(merger)], within=_WITHIN
        )
        await promise(settings, ledger, _events(50, said=2))
        await _merges(settings)
        before = sum(await ends(settings, state))
        frozen.signal(signal.SIGCONT)

        async def grew() -> bool:
            return sum(await ends(settings, state)) > before

        await eventually(grew, within=_WITHIN)
    async with running(SinkProgram(settings, tmp_path)):
        await _stored(settings)
        verdict = await _judged(settings, ledger, tmp_path)

    assert verdict.counts[Kind.REGRESSED, Where.STATE] > 0, verdict


def _is_frozen(merger: MergerProcess) -> bool:
    assert merger.child is not None
    return psutil.Process(merger.child.pid).status() == psutil.STATUS_STOPPED


@takes_long
async def test_an_ingest_that_answers_too_early_is_found(
    own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """What Kafka never took dies with it, though it was acknowledged."""
    settings = await migrated(own_kafka.settings, clickhouse_settings)
    ledger = Ledger(tmp_path / "ledger" / "writer.ndjson")
    ingest = PlantedIngest(own_kafka.settings, tmp_path)
    async with running(ingest), httpx.AsyncClient(base_url=ingest.url, timeout=30, trust_env=False) as client:
        assert own_kafka.child is not None
        traffic = Traffic(0, Random(1))
        await send(client, traffic.next(), ledger)
        os.kill(own_kafka.child.pid, signal.SIGSTOP)
        for _ in range(20):
            await send(client, traffic.next(), ledger)
        await own_kafka.kill()
    await own_kafka.start()
    verdict = await _judged(settings, tmp_path / "ledger", tmp_path)

    assert verdict.acknowledged > 1
    assert verdict.counts[Kind.LOST, Where.LOG] > 0, verdict
