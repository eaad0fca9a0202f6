"""What only an operator can fix: Kafka emptied, its tail cut, a topic recreated.  The run is the operator.

It waits until a service refuses to continue and names a command, and runs that command.  Before it does, it
looks everywhere for what was acknowledged: what is neither in ClickHouse nor in what Kafka still has went
with the log, and is written down for the judge.
"""

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
from aiokafka.admin import NewTopic

from chaos import ledger
from chaos.additive import LATEST
from chaos.copies import fill
from chaos.faults import Fault
from chaos.judge import Verdict, judge_survivors
from chaos.judge.bodies import value_of
from chaos.judge.topics import opened
from chaos.load import ADDITIVE
from chaos.quiet import RunFailed, quiet
from chaos.stage import SERVICES, LocalStage, send, started
from schemas.topics import Topic, Topology
from services.local import probes
from services.local.core.kafka_config import PARTITIONS
from services.local.processes import is_running
from services.pipeline.survey import admin
from tests.support.eventually import eventually
from tests.support.kafka.topics import delete_topics

_REFUSED_WITHIN = 120.0
_UNDERWAY = timedelta(seconds=15)
"""How long an event may have been on its way before it was acknowledged."""
_COMMAND = re.compile(r"`afterword ((?:recover|rebuild)[^`]*)`")


class OperatedStage(LocalStage):
    """The local stage, whose writers send events that add, and whose judge asks what survived."""

    traffic = (ADDITIVE,)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.taken = set[str]()
        """The events that went with a log so far."""

    async def judged(self) -> Verdict:
        """Return what is amiss."""
        return await judge_survivors(self.ledgers, self.clickhouse)

    async def verified(self) -> None:
        """Have `afterword verify --all` find no differences."""
        done = await self.stack.call("verify", "--all")
        if done.returncode != 0:
            raise RunFailed(
                f"`afterword verify --all` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )


@asynccontextmanager
async def operated_stage(directory: Path) -> AsyncIterator[OperatedStage]:
    """Start `afterword up` and its company for the block."""
    one = OperatedStage(directory)
    async with one.proxy, started(one):
        yield one


async def cut_tail(stage: OperatedStage, fault: Fault, _random: Random) -> str:
    """Take from Kafka's disk what came in the last seconds: all of it, or a topic's."""
    data, kept = stage.home / "kafka" / "data", stage.directory / f"kafka-{fault.seed}"
    async with _down(stage):
        since = _now()
        await asyncio.to_thread(_keep, data, kept, _PATTERNS[fault.target])
    await stage.serving("kafka")
    await asyncio.sleep(fault.seconds)
    async with _at_rest(stage, fault), _down(stage):
        await asyncio.to_thread(_put_back, data, kept, _PATTERNS[fault.target])
        shutil.rmtree(kept)
    return await _fixed(stage, fault, since - _UNDERWAY)


async def empty(stage: OperatedStage, fault: Fault, _random: Random) -> str:
    """Take Kafka's whole disk away."""
    async with _at_rest(stage, fault), _down(stage):
        shutil.rmtree(stage.home / "kafka" / "data")
    return await _fixed(stage, fault, None)


async def recreate(stage: OperatedStage, fault: Fault, _random: Random) -> str:
    """Delete a topic and make it again under its name, while everything runs."""
    await stage.serving("kafka")
    topic: Topic = getattr(Topology(await generation(stage)), fault.target)
    async with _at_rest(stage, fault):
        await delete_topics(stage.kafka, [topic.name])
        await eventually(lambda: _made(stage, topic), within=30, every=0.2)
    return await _fixed(stage, fault, None)


_PATTERNS = {"events": "feedback-events*-[0-9]*", "state": "feedback-state*-[0-9]*", "everything": "*"}


def _keep(data: Path, kept: Path, pattern: str) -> None:
    kept.mkdir()
    for path in data.glob(pattern):
        if path.is_dir():
            shutil.copytree(path, kept / path.name)
        else:
            shutil.copy2(path, kept / path.name)


def _put_back(data: Path, kept: Path, pattern: str) -> None:
    if pattern == "*":
        fill(data, kept)
        return
    for path in data.glob(pattern):
        shutil.rmtree(path)
    shutil.copytree(kept, data, dirs_exist_ok=True)


@asynccontextmanager
async def _down(stage: OperatedStage) -> AsyncIterator[None]:
    """Kill Kafka for the block, in which nothing starts it again."""
    await stage.serving("kafka")
    async with stage.unsupervised():
        if (process := stage.process("kafka")) is not None:
            send(process, signal.SIGKILL)
            await eventually(lambda: not is_running(process), within=30)
        yield


@asynccontextmanager
async def _at_rest(stage: OperatedStage, fault: Fault) -> AsyncIterator[None]:
    """Pause the writers until everything is stored, for the block, if the seed draws that."""
    if fault.seed % 2 or stage.load is None:
        yield
        return
    send(stage.load.identity, signal.SIGUSR1)
    stage.flows.clear()
    try:
        await quiet(stage)
        yield
    finally:
        stage.flows.set()
        send(stage.load.identity, signal.SIGUSR2)


async def _fixed(stage: OperatedStage, fault: Fault, since: datetime | None) -> str:
    """Record what the log lost, and run the command of the refusal."""
    await stage.serving("kafka")
    acknowledged = await asyncio.to_thread(_acknowledged, stage.ledgers, since)
    # The events are still there where only states were lost: none of them may be missing then.
    taken = set[str]() if fault.target == "state" else await _missing(stage, acknowledged)
    taken -= stage.taken
    stage.taken |= taken
    with (stage.ledgers / ledger.TAKEN).open("a") as file:
        file.writelines(json.dumps({"event_id": one, "fault": str(fault)}) + "\n" for one in sorted(taken))
    command = await eventually(lambda: _refusal(stage), within=_REFUSED_WITHIN, every=0.5) or []
    done = await stage.stack.call(*command, "--yes")
    assert done.returncode == 0, f"`afterword {' '.join(command)} --yes`: {done.stdout}{done.stderr}"
    rest = "at rest" if fault.seed % 2 == 0 else "in flight"
    return f"{rest}, {len(taken)} events gone with the log, `afterword {' '.join(command)}`"


async def _refusal(stage: OperatedStage) -> list[str] | None:
    """Return the command that a service or `afterword status` names, None while none does."""
    for name in (*SERVICES, "query"):
        _, body = await asyncio.to_thread(probes.get, stage.port(name), "/readyz")
        if found := _COMMAND.search(body.decode()):
            return found.group(1).split()
    found = _COMMAND.search((await stage.stack.call("status", "--json")).stdout)
    return found.group(1).split() if found else None


def _acknowledged(ledgers: Path, since: datetime | None) -> list[dict[str, Any]]:
    """Return the lines of what was acknowledged, those sent after a moment if one is given."""
    return [
        line
        for line in ledger.read(ledgers)
        if line["outcome"] == ledger.ACKNOWLEDGED and line["event_id"]
        if since is None or datetime.fromisoformat(line["sent_at"]) >= since
    ]


async def _missing(stage: OperatedStage, lines: list[dict[str, Any]]) -> set[str]:
    """Return the events of which ClickHouse and Kafka know nothing."""
    ids, states = await _in_kafka(stage)
    rows = await fields_of(stage)
    stored = await _stored_events(stage)
    erased = {line["request_id"] for line in lines if line["op"] == "erase"}
    return {line["event_id"] for line in lines if not _is_known(line, ids | stored, erased, states, rows)}


def _is_known(
    line: dict[str, Any],
    ids: set[str],
    erased: set[str],
    states: dict[str, set[str]],
    rows: dict[str, set[str]],
) -> bool:
    """Return whether an event, or what it did, is anywhere: an erasure leaves nothing of those before it."""
    if line["event_id"] in ids:
        return True
    if line["op"] == "erase":
        return line["request_id"] not in rows
    return line["request_id"] in erased or _shows(line, states) or _shows(line, rows)


def _shows(line: dict[str, Any], rows: dict[str, set[str]]) -> bool:
    """Return whether a row has a field that this event alone put there."""
    own = {name for part in ("data", "request") for name in line[part] or () if name != LATEST}
    return bool(own & rows.get(line["request_id"], set()))


async def _in_kafka(stage: OperatedStage) -> tuple[set[str], dict[str, set[str]]]:
    """Return the ids of all events in Kafka, and by request the fields of every state there."""
    ids, states = set[str](), dict[str, set[str]]()
    names = await _topics(stage)
    if not any(name.startswith("feedback-") for name in names):
        return ids, states  # a consumer of aiokafka's that is stopped before it has read cancels its caller
    async with (
        opened(stage.kafka, committed=False) as plain,
        opened(stage.kafka, committed=True) as committed,
    ):
        for name in (name for name in names if name.startswith("feedback-events") and "-dlq" not in name):
            for partition in range(PARTITIONS):
                async for record in plain.read(name, partition):
                    ids |= {value_of(record.value)["event_id"]} if record.value else set()
        for name in (name for name in names if name.startswith("feedback-state") and "-dlq" not in name):
            for partition in range(PARTITIONS):
                async for record in committed.read(name, partition):
                    _add(states, _state_of(record.value))
    return ids, states


def _state_of(value: bytes | None) -> dict[str, Any]:
    """Return the content of a record of the state topic: nothing, if a fault has damaged it."""
    try:
        row = value_of(value or b"{}")
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _add(rows: dict[str, set[str]], row: dict[str, Any]) -> None:
    if "request_id" not in row:
        return
    names = rows.setdefault(row["request_id"], set())
    names |= {*(row.get("data") or ()), *(row.get("request") or ())}


async def _topics(stage: OperatedStage) -> list[str]:
    async with admin(stage.kafka, "chaos") as client:
        return sorted(await client.list_topics())


async def generation(stage: OperatedStage) -> int:
    """Return the newest generation of events topics."""
    names = [
        name for name in await _topics(stage) if name.startswith("feedback-events") and "-dlq" not in name
    ]
    return max(int(name.rpartition("-v")[2]) if "-v" in name else 0 for name in names)


async def _made(stage: OperatedStage, topic: Topic) -> bool:
    """Try to make a topic, which Kafka may still be deleting."""
    new = NewTopic(topic.name, topic.partitions(PARTITIONS), 1, topic_configs=topic.config())
    async with admin(stage.kafka, "chaos") as client:
        answer = await client.create_topics([new])
    return all(code == 0 for _, code, *_ in answer.topic_errors)


async def fields_of(stage: OperatedStage) -> dict[str, set[str]]:
    """Return the fields of every row in ClickHouse."""
    found = dict[str, set[str]]()
    for line in await select(stage, "SELECT request_id, data, request FROM afterword.feedback_state FINAL"):
        request_id, data, request = line
        _add(found, {"request_id": request_id, "data": value_of(data), "request": value_of(request)})
    return found


async def _stored_events(stage: OperatedStage) -> set[str]:
    return {
        line[0] for line in await select(stage, "SELECT toString(event_id) FROM afterword.feedback_events")
    }


async def select(stage: OperatedStage, sql: str) -> list[list[str]]:
    """Return the rows of a SELECT, as soon as ClickHouse answers."""

    async def answered() -> httpx.Response | None:
        try:
            answer = await client.post("/", content=f"{sql} FORMAT JSONCompactEachRow")
        except httpx.TransportError:
            return None
        return answer if answer.status_code == 200 else None

    url = stage.settings.clickhouse_url
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        answer = await eventually(answered, within=60, every=0.5)
    assert answer is not None
    return [json.loads(line) for line in answer.text.splitlines()]


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (the rim of the run)
