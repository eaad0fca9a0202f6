"""A damaged record in the topic of states: only its request waits, and an operator fixes it.

The run is the operator: it stops the mergers, runs the commands that the dead letter names, and starts the
mergers again.
"""

import asyncio
import json
import re
import shutil
import signal
from random import Random

import httpx

from chaos.faults import Fault
from chaos.ledger import ACKNOWLEDGED, Event, Ledger, Post
from chaos.ledger import send as post_to
from chaos.operated import OperatedStage, fields_of, generation, select
from chaos.poison import Bad, write
from chaos.stage import send
from schemas.identity import DEFAULT_TENANT, event_key, partition_of
from schemas.topics import Topology
from services.local.core.kafka_config import PARTITIONS
from services.local.processes import Identity, is_running
from tests.support.eventually import eventually

_MERGED_WITHIN = 120.0
_COMMANDS = re.compile(r"`afterword ([^`]*)`")
_MERGERS = ("merger", "merger-2")


async def spoil(stage: OperatedStage, fault: Fault, random: Random) -> str:
    """Damage a request's state, have the mergers read it from the topic, and fix it."""
    request_id, ledger = f"spoiled-{fault.seed}", Ledger(stage.ledgers / f"spoiled-{fault.seed}.ndjson")
    async with httpx.AsyncClient(base_url=stage.ingest_url, timeout=15, trust_env=False) as client:
        await _say(client, ledger, request_id, "before")
        await eventually(lambda: _shows(stage, request_id, {"before"}), within=_MERGED_WITHIN, every=0.5)
        key = event_key(DEFAULT_TENANT, request_id)
        topic = Topology(await generation(stage)).state.name
        value = random.choice((b"garbage", b"{}", b"\xff\x00", b'{"tenant":"default"}', b"[]"))
        await write(stage.kafka, topic, partition_of(key, PARTITIONS), Bad(key, value))
        await _forget_copies(stage)
        await _say(client, ledger, request_id, "after")
    detail = await eventually(lambda: _dead_lettered(stage, request_id), within=_MERGED_WITHIN, every=0.5)
    commands = _COMMANDS.findall(detail or "")
    await _fix(stage, commands)
    await eventually(lambda: _shows(stage, request_id, {"before", "after"}), within=_MERGED_WITHIN, every=0.5)
    ledger.close()
    return f"{value!r}, mended by {', '.join(f'`afterword {command}`' for command in commands)}"


async def _say(client: httpx.AsyncClient, ledger: Ledger, request_id: str, name: str) -> None:
    """Post an event, again until it is acknowledged."""
    event = Event(request_id, data={name: 1})
    body = json.dumps({"request_id": event.request_id, "data": event.data}).encode()
    post = Post("POST", "/v1/events", body, "native", (event,), f"{request_id}-{name}")

    async def acknowledged() -> bool:
        return [one.outcome for one in await post_to(client, post, ledger)] == [ACKNOWLEDGED]

    await eventually(acknowledged, within=_MERGED_WITHIN, every=0.5)


async def _forget_copies(stage: OperatedStage) -> None:
    """Take the mergers' local copies away, so that they read the topic again."""
    for name in _MERGERS:
        process = await stage.signal(name, signal.SIGSTOP)
        for path in await asyncio.to_thread(lambda home: list(home.glob("v*")), stage.merger_home(name)):
            shutil.rmtree(path, ignore_errors=True)
        send(process, signal.SIGKILL)


async def _shows(stage: OperatedStage, request_id: str, names: set[str]) -> bool:
    return names <= (await fields_of(stage)).get(request_id, set())


async def _dead_lettered(stage: OperatedStage, request_id: str) -> str | None:
    """Return why an event of the request was dead-lettered, None while none was."""
    sql = f"SELECT detail FROM afterword.dead_letters WHERE request_id = '{request_id}' AND stage = 'merger'"
    found = await select(stage, sql)
    return found[0][0] if found else None


async def _fix(stage: OperatedStage, commands: list[str]) -> None:
    """Run the commands; those that rebuild states without a merger."""
    for command in commands:
        if command.startswith("rebuild"):
            async with stage.unsupervised(), stage.kept["merger-2"].held():
                # It may rest after the kill, and is not started while nothing supervises it.
                if (process := stage.process("merger")) is not None:
                    send(process, signal.SIGTERM)
                    await _ended(process)
                await _run(stage, command)
        else:
            await _run(stage, command)


async def _ended(process: Identity) -> None:
    await eventually(lambda: not is_running(process), within=60)


async def _run(stage: OperatedStage, command: str) -> None:
    options = ("--reason", "damaged_state") if command.startswith("dlq") else ()
    done = await stage.stack.call(*command.split(), *options, "--yes")
    assert done.returncode == 0, (
        f"`afterword {command}` ended with {done.returncode}: {done.stdout}{done.stderr}"
    )
