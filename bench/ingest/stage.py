"""Ingest against its textbook twin on one Kafka, in turns: single events, and batches of 500 lines.

Load, servers and Kafka share the machine: read the ratios.  The processor time that the server spends on an
event says most where the machine has other work too.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from bench.ingest.client import EVENTS, Load
from bench.ingest.contenders import Contender, Turn, contender, loaded
from bench.stages import Figure, Say, Size, Stack, compared
from bench.targets import NONE, Target, share, times
from schemas.topics import Topology
from services.operations.keys import create_key

STAGE = "ingest"
TEXTBOOK, INGEST = "textbook", "ingest"
BATCHED = 8
"""Connections that send batches."""
SECONDS = {True: 3.0, False: 10.0}
CONNECTIONS: Mapping[bool, Sequence[int]] = {True: (256,), False: (256, 64, 1)}
"""By whether it is the quick run."""


async def measure(size: Size, stack: Stack, say: Say) -> list[Figure]:
    """Load one after the other, in turns."""
    key = create_key(stack.home / "keys.toml", tenant="default", scopes=("write",), name="bench").key
    async with stack.topics() as settings, AsyncExitStack() as servers:
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "KAFKA_TOPIC_GENERATION": str(settings.kafka_topic_generation),
            "BENCH_TOPIC": Topology(settings.kafka_topic_generation).events.name,
            "AFTERWORD_HOME": str(stack.home),
            "BENCH_KEY": key,
        }
        running = [
            await servers.enter_async_context(contender(name, environment)) for name in (TEXTBOOK, INGEST)
        ]
        return await _compared(size, running, key, say)


async def _compared(size: Size, running: list[Contender], key: str, say: Say) -> list[Figure]:
    turns: dict[tuple[str, int], list[Turn]] = {}
    for _ in range(size.rounds):
        for server in running:
            for connections in CONNECTIONS[size.quick]:
                load = Load(server.port, key, connections, SECONDS[size.quick])
                await _turn(turns, (server.name, connections), server, load, say)
        batch = Load(running[1].port, key, BATCHED, SECONDS[size.quick], is_batch=True)
        await _turn(turns, (INGEST, 0), running[1], batch, say)
    singles = [figure for at in CONNECTIONS[size.quick] for figure in _singles(turns, at)]
    return [*singles, *_batches(turns)]


async def _turn(
    turns: dict[tuple[str, int], list[Turn]], place: tuple[str, int], server: Contender, load: Load, say: Say
) -> None:
    turn = await loaded(server, load)
    turns.setdefault(place, []).append(turn)
    what = f"batches of {EVENTS}" if load.is_batch else "single events"
    say(
        f"{server.name}, {what}, {load.connections} connections: {turn.rate:,.0f} events/s,"
        f" p99 {turn.p99:.1f} ms, {turn.cost:.0f} us of processor an event, load {turn.busy:.0%} busy"
    )


def _singles(turns: Mapping[tuple[str, int], Sequence[Turn]], connections: int) -> list[Figure]:
    ours, theirs = turns[INGEST, connections], turns[TEXTBOOK, connections]
    what = f"single events, {connections} connections" if connections > 1 else "single events, one connection"
    is_target = connections == 256
    return [
        _rate(what, ours, theirs, times(4, "the textbook") if is_target else NONE),
        _slowest(what, ours, theirs, share(1, "the textbook") if is_target else NONE),
        _cost(what, ours, theirs),
    ]


def _batches(turns: Mapping[tuple[str, int], Sequence[Turn]]) -> list[Figure]:
    """Against the textbook's single events: it has no batches."""
    ours, theirs = turns[INGEST, 0], turns[TEXTBOOK, 256]
    what = f"NDJSON of {EVENTS}, {BATCHED} connections"
    return [
        _rate(what, ours, theirs, times(25, "the textbook")),
        _cost(what, ours, theirs),
        _slowest(what, ours, (), NONE),
    ]


def _rate(what: str, ours: Sequence[Turn], theirs: Sequence[Turn], target: Target) -> Figure:
    rates = ([turn.rate for turn in turns] for turns in (ours, theirs))
    return compared(STAGE, what, "events/s", *rates, target=target)


def _slowest(what: str, ours: Sequence[Turn], theirs: Sequence[Turn], target: Target) -> Figure:
    waits = ([turn.p99 for turn in turns] for turns in (ours, theirs))
    return compared(STAGE, f"{what}: 99th percentile of the answer", "ms", *waits, target=target)


def _cost(what: str, ours: Sequence[Turn], theirs: Sequence[Turn]) -> Figure:
    costs = ([turn.cost for turn in turns] for turns in (ours, theirs))
    return compared(STAGE, f"{what}: processor time of the server", "us/event", *costs)
