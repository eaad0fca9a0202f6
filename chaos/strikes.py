"""How each fault strikes, and how it ends.  A strike returns, once the fault is over, what exactly it did."""

import asyncio
import json
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from random import Random
from typing import Any

import httpx
from aiokafka.errors import KafkaError

from chaos import brokers, copies, disks, operated, spoiled
from chaos.damage import damage, has_multiple, has_tables
from chaos.faults import Fault
from chaos.ledger import Event, Ledger, Poison, Post
from chaos.ledger import send as post_to
from chaos.limits import limit
from chaos.poison import poison, write_too_large
from chaos.stage import LocalStage, Stage, send
from schemas.limits import KIB
from services.local.core.kafka_config import LOOPBACK
from services.local.processes import is_running
from tests.support.eventually import eventually

Strike = Callable[[Any, Fault, Random], Awaitable[str]]
"""Takes the stage of its phase."""

_SUPERVISOR, _NETWORK, _ENGINE = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
_STORMS = {
    "mergers": ("merger", "merger-2"),
    "sinks": ("sink", "sink-2"),
    "mergers and sinks": ("merger", "merger-2", "sink", "sink-2"),
}
_CLOCKS = {
    "ingest": ("ingest",),
    "merger": ("merger", "merger-2"),
    "sink": ("sink", "sink-2"),
    "clickhouse": ("clickhouse",),
}
_IDLE = 1_000
_THROTTLED, _LET = 0.45, 0.05
"""Seconds for which a throttled process is stopped, and for which it then runs."""


async def strike(stage: Stage, fault: Fault) -> str:
    """Strike, and return once it is over."""
    return await STRIKES[fault.fault](stage, fault, Random(fault.seed))


async def _kill(stage: Stage, fault: Fault, _random: Random) -> str:
    if fault.target != "supervisor":
        return f"process {(await stage.signal(fault.target, signal.SIGKILL)).pid}"
    async with _SUPERVISOR:
        await stage.kill()
        await stage.start()
    return "with everything it ran"


async def _turns(stage: Stage, fault: Fault, random: Random) -> str:
    """Kill one and the other of a group in turn, over some seconds."""
    times = random.randint(3, 5)
    for turn in range(times):
        await stage.signal(fault.target if turn % 2 == 0 else f"{fault.target}-2", signal.SIGKILL)
        await asyncio.sleep(fault.seconds / times)
    return f"{times} kills"


async def _storm(stage: Stage, fault: Fault, random: Random) -> str:
    """End, stop and wake members of a group in any order, many times in some seconds."""
    clock, counts = asyncio.get_running_loop().time, Counter[str]()
    end = clock() + fault.seconds
    while clock() < end:
        name = random.choice(_STORMS[fault.target])
        number = random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        if (process := stage.process(name)) is not None:
            send(process, number)
            counts[number.name] += 1
            if number is signal.SIGSTOP:
                await asyncio.sleep(random.uniform(0.1, 2.0))
                send(process, signal.SIGCONT)
        await asyncio.sleep(random.uniform(0.05, 0.6))
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


async def _throttle(stage: Stage, fault: Fault, _random: Random) -> str:
    """Let a process run for a tenth of the time, by SIGSTOP and SIGCONT."""
    async with _ENGINE:
        clock = asyncio.get_running_loop().time
        end = clock() + fault.seconds
        while clock() < end:
            process = stage.process(fault.target)
            if process is not None:
                send(process, signal.SIGSTOP)
            await asyncio.sleep(_THROTTLED)
            if process is not None:
                send(process, signal.SIGCONT)
            await asyncio.sleep(_LET)
    return f"for {fault.seconds} s"


async def _idle(stage: Stage, fault: Fault, random: Random) -> str:
    """Hold many connections that ask for nothing; those that are closed are opened again."""
    opened, port = Counter[str](), stage.port(fault.target)

    async def hold() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
                opened["opened"] += 1
                try:
                    if random.random() < 0.5:
                        writer.write(b"POST /v1/events HTTP/1.1\r\nHost: chaos\r\nX-Never: ")
                    while await reader.read(1024):
                        continue
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.5)

    with suppress(TimeoutError):
        async with asyncio.timeout(fault.seconds), asyncio.TaskGroup() as tasks:
            for _ in range(_IDLE):
                tasks.create_task(hold(), name="idle connection")
    return f"{_IDLE:,} at once, {opened['opened']:,} in all, for {fault.seconds} s"


async def _hang(stage: Stage, fault: Fault, random: Random) -> str:
    async with _ENGINE:
        return await _freeze(stage, fault, random)


async def _freeze(stage: Stage, fault: Fault, _random: Random) -> str:
    process = await stage.signal(fault.target, signal.SIGSTOP)
    await asyncio.sleep(fault.seconds)
    send(process, signal.SIGCONT)
    return f"for {fault.seconds} s"


async def _restart(stage: Stage, _fault: Fault, _random: Random) -> str:
    process = await stage.signal("kafka", signal.SIGTERM)
    await eventually(lambda: stage.process("kafka") != process, within=60)
    return f"process {process.pid}"


async def _network(stage: LocalStage, fault: Fault, random: Random) -> str:
    """Slow down, cut or silence the way to Kafka, one after another where several strike at once."""
    async with _NETWORK:
        told = await _worse(stage, fault.fault, random)
        await asyncio.sleep(fault.seconds)
        stage.proxy.restore()
    return f"{told}for {fault.seconds} s"


async def _worse(stage: LocalStage, fault: str, random: Random) -> str:
    if fault == "slow":
        stage.proxy.delay = round(random.uniform(0.1, 0.6), 2)
        return f"{stage.proxy.delay} s a piece, "
    if fault == "cut":
        await stage.proxy.cut()
    else:
        stage.proxy.silence()
    return ""


async def _down(stage: Stage, fault: Fault, _random: Random) -> str:
    """Keep ClickHouse down: whatever starts is killed at once."""
    clock, kills, last = asyncio.get_running_loop().time, 0, None
    end = clock() + fault.seconds
    while clock() < end:
        if (process := stage.process("warehouse")) is not None and process != last:
            send(process, signal.SIGKILL)
            kills, last = kills + 1, process
        await asyncio.sleep(0.05)
    return f"for {fault.seconds} s, {kills} kills"


async def _damage(stage: Stage, fault: Fault, random: Random) -> str:
    """Damage a merger's directory while it does not run: it is stopped, and killed before it continues."""
    names: tuple[str, ...] = ("merger", "merger-2")
    if fault.target == "swapped":
        names = tuple(one for one in names if has_multiple(stage.merger_home(one))) or names
    name = random.choice(names)
    if fault.target in ("flip", "table") and not has_tables(stage.merger_home(name)):
        # Which writes what it has in memory.
        await stage.another(name, await stage.signal(name, signal.SIGTERM))
    await stage.signal(name, signal.SIGSTOP)
    told = damage(stage.merger_home(name), fault.target, random)
    await stage.signal(name, signal.SIGKILL)
    return told


async def _other_copy(stage: LocalStage, fault: Fault, random: Random) -> str:
    """Put another copy in place of a merger's: its own of some seconds ago, or the other merger's."""
    name, other = random.sample(("merger", "merger-2"), 2)
    home, kept = stage.merger_home(name), stage.directory / f"copies-{fault.seed}"
    source = name if fault.target == "older" else other
    process = await stage.signal(source, signal.SIGSTOP)
    copied = await asyncio.to_thread(copies.keep, stage.merger_home(source), kept)
    send(process, signal.SIGCONT)
    await asyncio.sleep(fault.seconds)
    await stage.signal(name, signal.SIGSTOP)
    replaced = copies.replace(home, kept, random)
    await stage.signal(name, signal.SIGKILL)
    return f"{name}: {replaced or 'nothing'} of {copied} copies, {fault.seconds} s old"


async def _restore(stage: LocalStage, fault: Fault, _random: Random) -> str:
    """Put ClickHouse's directory back as it was some seconds ago, while everything else continues."""
    disk, kept = stage.home / fault.target, stage.directory / f"{fault.target}-{fault.seed}"
    async with _SUPERVISOR, _ENGINE:
        async with _down_and_unsupervised(stage, fault.target):
            await asyncio.to_thread(copies.fill, kept, disk)
        await stage.serving(fault.target)
        await asyncio.sleep(fault.seconds)
        async with _down_and_unsupervised(stage, fault.target):
            await asyncio.to_thread(copies.fill, disk, kept)
        shutil.rmtree(kept)
    return f"as it was {fault.seconds} s before"


@asynccontextmanager
async def _down_and_unsupervised(stage: LocalStage, name: str) -> AsyncIterator[None]:
    """Kill a server for the block, in which nothing starts it again."""
    await stage.serving(name)
    async with stage.unsupervised():
        if (process := stage.process(name)) is not None:
            send(process, signal.SIGKILL)
            await eventually(lambda: not is_running(process), within=30)
        yield


async def _poison(stage: Stage, _fault: Fault, random: Random) -> str:
    return await poison(stage.kafka, Poison(stage.ledgers), random)


async def _too_large(stage: Stage, fault: Fault, random: Random) -> str:
    return await _TOO_LARGE[fault.target](stage, fault, random)


async def _large_request(stage: Stage, fault: Fault, _random: Random) -> str:
    outcomes = await _post(stage, fault, f"large-{fault.seed}", 600, times=1)
    return f"an event of 600 KiB: {outcomes}"


async def _large_row(stage: Stage, fault: Fault, _random: Random) -> str:
    outcomes = await _post(stage, fault, f"row-{fault.seed}", 480, times=10)
    return f"10 events of 480 KiB for one request: {outcomes}"


async def _large_record(stage: Stage, _fault: Fault, random: Random) -> str:
    await write_too_large(stage.kafka, random)
    return "3 MiB, straight to Kafka"


async def _small_limit(stage: Stage, fault: Fault, _random: Random) -> str:
    """Let the topic take only small batches for a while, so that Kafka refuses what ingest may send."""
    await _again(lambda: limit(stage.kafka, 700))
    await asyncio.sleep(fault.seconds)
    await _again(lambda: limit(stage.kafka))
    return f"the topic took no more than 700 bytes for {fault.seconds} s"


_TOO_LARGE: Mapping[str, Strike] = {
    "request": _large_request,
    "record": _large_record,
    "row": _large_row,
    "limit": _small_limit,
}


async def _post(stage: Stage, fault: Fault, request_id: str, kib: int, times: int) -> str:
    """Post large events for one request, and remember them as the writers do."""
    ledger = Ledger(stage.ledgers / f"large-{fault.seed}.ndjson")
    told = list[str]()
    async with httpx.AsyncClient(base_url=stage.ingest_url, timeout=15, trust_env=False) as client:
        for number in range(times):
            event = Event(request_id, data={f"large-{number}": "x" * (kib * KIB)})
            body = json.dumps({"request_id": event.request_id, "data": event.data}).encode()
            outcomes = await post_to(client, Post("POST", "/v1/events", body, "native", (event,)), ledger)
            told += [outcome.outcome for outcome in outcomes]
    ledger.close()
    return ", ".join(f"{told.count(one)} {one}" for one in sorted(set(told)))


async def _clock(stage: Any, fault: Fault, random: Random) -> str:
    if fault.target == "broker":
        return await brokers.clock(stage, fault, random)
    names = _CLOCKS[fault.target]
    shifts = {name: random.choice((-1, 1)) * round(random.uniform(1, 30), 1) for name in names}
    for name, hours in shifts.items():
        stage.shift(name, hours * 3600)
    await asyncio.sleep(fault.seconds)
    for name in names:
        stage.shift(name, 0)
    return ", ".join(f"{name} by {hours:+} h" for name, hours in shifts.items())


async def _disk_full(stage: LocalStage, fault: Fault, random: Random) -> str:
    if fault.target in ("kafka", "warehouse"):
        return await _store_full(stage, fault)
    return await _merger_full(stage, fault, random)


async def _merger_full(stage: LocalStage, fault: Fault, random: Random) -> str:
    """Fill the disk of a merger's directory, end the merger, which then starts there, and free the disk."""
    names = ("merger", "merger-2") if fault.target == "both" else (fault.target,)
    number = random.choice((signal.SIGKILL, signal.SIGTERM))
    taken = [disks.fill(stage.merger_home(name)) for name in names]
    try:
        for name in names:
            await stage.signal(name, number)
        await asyncio.sleep(fault.seconds)
    finally:
        for name in names:
            disks.free(stage.merger_home(name))
    return f"{sum(taken) >> 20} MiB taken, {number.name}, for {fault.seconds} s"


async def _store_full(stage: LocalStage, fault: Fault) -> str:
    """Fill the disk of a server while it writes, again and again, and free it."""
    clock, disk = asyncio.get_running_loop().time, stage.home / fault.target
    async with _ENGINE if fault.target == "warehouse" else nullcontext():
        end, taken = clock() + fault.seconds, 0
        try:
            while clock() < end:
                taken = await asyncio.to_thread(disks.fill, disk)
                await asyncio.sleep(0.3)
        finally:
            disks.free(disk)
    return f"{taken >> 20} MiB taken, for {fault.seconds} s"


async def _read_only(stage: LocalStage, fault: Fault, _random: Random) -> str:
    disk = stage.home / fault.target
    async with _ENGINE:
        disks.protect(disk)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            disks.unprotect(disk)
    return f"for {fault.seconds} s"


async def _again(act: Callable[[], Awaitable[None]], within: float = 60.0) -> None:
    """Do something that needs Kafka, again and again while another fault keeps Kafka away."""

    async def done() -> bool:
        try:
            async with asyncio.timeout(within / 2):
                await act()
        except (KafkaError, OSError, TimeoutError) as error:
            raise AssertionError(f"{error!r}") from error
        return True

    await eventually(done, within=within, every=0.5)


STRIKES: Mapping[str, Strike] = {
    "kill": _kill,
    "turns": _turns,
    "storm": _storm,
    "freeze": _freeze,
    "hang": _hang,
    "restart": _restart,
    "slow": _network,
    "cut": _network,
    "silence": _network,
    "down": _down,
    "damage": _damage,
    "other copy": _other_copy,
    "restore": _restore,
    "poison": _poison,
    "too large": _too_large,
    "clock": _clock,
    "disk full": _disk_full,
    "read-only": _read_only,
    "throttle": _throttle,
    "idle": _idle,
    "broker": brokers.lose,
    "below": brokers.below,
    "roll": brokers.roll,
    "migrate": brokers.migrate,
    "tail cut": operated.cut_tail,
    "emptied": operated.empty,
    "recreated": operated.recreate,
    "spoiled": spoiled.spoil,
}
