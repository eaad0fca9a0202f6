"""How each fault strikes, and how it ends.  A strike returns, once the fault is over, what exactly it did."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Mapping
from random import Random

import httpx
from aiokafka.errors import KafkaError

from schemas.limits import KIB
from tests.chaos import disks
from tests.chaos.damage import damage, has_tables
from tests.chaos.faults import Fault
from tests.chaos.ledger import Event, Ledger, Poison, Post
from tests.chaos.ledger import send as post_to
from tests.chaos.limits import limit
from tests.chaos.poison import poison, write_too_large
from tests.chaos.stage import Stage, send
from tests.support.eventually import eventually

Strike = Callable[[Stage, Fault, Random], Awaitable[str]]

_SUPERVISOR, _NETWORK = asyncio.Lock(), asyncio.Lock()


async def strike(stage: Stage, fault: Fault) -> str:
    """Strike, and return once it is over."""
    return await STRIKES[fault.fault](stage, fault, Random(fault.seed))


async def _kill(stage: Stage, fault: Fault, _random: Random) -> str:
    if fault.target != "supervisor":
        return f"process {(await stage.signal(fault.target, signal.SIGKILL)).pid}"
    async with _SUPERVISOR:
        await stage.stack.kill()
        await stage.restart()
    return "with everything it ran"


async def _turns(stage: Stage, fault: Fault, random: Random) -> str:
    """Kill one and the other of a group in turn, over some seconds."""
    times = random.randint(3, 5)
    for turn in range(times):
        await stage.signal(fault.target if turn % 2 == 0 else f"{fault.target}-2", signal.SIGKILL)
        await asyncio.sleep(fault.seconds / times)
    return f"{times} kills"


async def _freeze(stage: Stage, fault: Fault, _random: Random) -> str:
    process = await stage.signal(fault.target, signal.SIGSTOP)
    await asyncio.sleep(fault.seconds)
    send(process, signal.SIGCONT)
    return f"for {fault.seconds} s"


async def _restart(stage: Stage, _fault: Fault, _random: Random) -> str:
    process = await stage.signal("kafka", signal.SIGTERM)
    await eventually(lambda: stage.process("kafka") != process, within=60)
    return f"process {process.pid}"


async def _network(stage: Stage, fault: Fault, random: Random) -> str:
    """Slow down, cut or silence the way to Kafka, one after another where several strike at once."""
    async with _NETWORK:
        told = await _worse(stage, fault.fault, random)
        await asyncio.sleep(fault.seconds)
        stage.proxy.restore()
    return f"{told}for {fault.seconds} s"


async def _worse(stage: Stage, fault: str, random: Random) -> str:
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
    """Damage a merger's directory while it does not run: it is stopped, and killed before it goes on."""
    name = random.choice(("merger", "merger-2"))
    if fault.target in ("flip", "table") and not has_tables(stage.merger_home(name)):
        # Which writes what it has in memory.
        await stage.another(name, await stage.signal(name, signal.SIGTERM))
    await stage.signal(name, signal.SIGSTOP)
    told = damage(stage.merger_home(name), fault.target, random)
    await stage.signal(name, signal.SIGKILL)
    return told


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
    async with httpx.AsyncClient(base_url=stage.stack.ingest_url, timeout=15, trust_env=False) as client:
        for number in range(times):
            event = Event(request_id, data={f"large-{number}": "x" * (kib * KIB)})
            body = json.dumps({"request_id": event.request_id, "data": event.data}).encode()
            outcomes = await post_to(client, Post("POST", "/v1/events", body, "native", (event,)), ledger)
            told += [one.outcome for one in outcomes]
    ledger.close()
    return ", ".join(f"{told.count(one)} {one}" for one in sorted(set(told)))


async def _clock(stage: Stage, fault: Fault, random: Random) -> str:
    names = (fault.target,) if fault.target == "ingest" else (fault.target, f"{fault.target}-2")
    shifts = {name: random.choice((-1, 1)) * round(random.uniform(1, 30), 1) for name in names}
    for name, hours in shifts.items():
        stage.shift(name, hours * 3600)
    await asyncio.sleep(fault.seconds)
    for name in names:
        stage.shift(name, 0)
    return ", ".join(f"{name} by {hours:+} h" for name, hours in shifts.items())


async def _disk_full(stage: Stage, fault: Fault, random: Random) -> str:
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
    "freeze": _freeze,
    "hang": _freeze,
    "restart": _restart,
    "slow": _network,
    "cut": _network,
    "silence": _network,
    "down": _down,
    "damage": _damage,
    "poison": _poison,
    "too large": _too_large,
    "clock": _clock,
    "disk full": _disk_full,
}
