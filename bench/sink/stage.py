"""The sink against the engine alone and against a sink that inserts row by row: the same states, one table.

The engine alone gets the same bytes in batches of the same size over HTTP.  Each turn counts from the first
rows in the table to the last, so that starting a process is no part of it.
"""

from pathlib import Path
from statistics import median

from bench.filling import fill
from bench.sink.contenders import Table, Turn, by_the_engine, by_the_sink, by_the_textbook
from bench.sink.rows import states
from bench.stages import PARTITIONS, Figure, Say, Size, Stack, compared
from bench.targets import times
from schemas.topics import Topology
from services.sink.core.rows import state_line
from services.sink.settings import SinkSettings
from tests.support.sink.doubles import FakeRecord
from tests.support.sink.runs import migrated

STAGE = "sink"
BATCHES = {True: 3, False: 8}
"""By whether it is the quick run; the first one is not counted."""
TEXTBOOK_SECONDS = {True: 2.0, False: 10.0}


async def measure(size: Size, stack: Stack, say: Say) -> list[Figure]:
    """Store the same states by each of the three in turns."""
    kafka, warehouse = await stack.kafka(), await stack.warehouse()
    own = {name: field.default for name, field in SinkSettings.model_fields.items() if name in _AS_DEPLOYED}
    settings = await migrated(kafka.settings, warehouse.settings, **own)
    assert warehouse.child is not None
    count = BATCHES[size.quick] * settings.sink_batch_rows
    records = [*states(count)]
    await fill(settings, Topology(settings.kafka_topic_generation).state.name, records, PARTITIONS)
    say(f"{count:,} rows of {sum(len(value) for _, value in records) // count} bytes")
    lines = [state_line(FakeRecord(value, key=key, offset=at), 0) for at, (key, value) in enumerate(records)]
    step = settings.sink_batch_rows
    bodies = [lines[at : at + step] for at in range(0, count, step)]
    table = Table(settings, warehouse.child.pid)
    return await _rounds(size, table, bodies, stack.home, say)


_AS_DEPLOYED = ("sink_flush_seconds", "sink_watch_seconds", "sink_reconcile_events_per_second")


async def _rounds(size: Size, table: Table, bodies: list[list[bytes]], home: Path, say: Say) -> list[Figure]:
    rows = sum(map(len, bodies))
    engine, sink, textbook = list[Turn](), list[Turn](), list[Turn]()
    for _ in range(size.rounds):
        engine.append(await by_the_engine(table, bodies))
        sink.append(await by_the_sink(table, rows, home))
        textbook.append(await by_the_textbook(table, rows, TEXTBOOK_SECONDS[size.quick], home))
        named = zip(("engine", "sink", "textbook"), (engine, sink, textbook), strict=True)
        say(", ".join(f"{name} {turns[-1].rate:,.0f} rows/s" for name, turns in named))
    return figures(engine, sink, textbook)


def figures(engine: list[Turn], sink: list[Turn], textbook: list[Turn]) -> list[Figure]:
    """Return what the turns show."""
    rates = [turn.rate for turn in sink]
    return [
        compared(
            STAGE,
            "states stored, against the engine alone",
            "rows/s",
            rates,
            [turn.rate for turn in engine],
            target=times(0.8, "the engine alone"),
        ),
        compared(
            STAGE,
            "states stored, against row by row",
            "rows/s",
            rates,
            [turn.rate for turn in textbook],
            target=times(100, "the textbook"),
        ),
        compared(STAGE, "processor time of the sink", "us/row", [turn.own for turn in sink]),
        compared(
            STAGE,
            "processor time of the engine, against the engine alone",
            "us/row",
            [turn.engine for turn in sink],
            [turn.engine for turn in engine],
        ),
        compared(
            STAGE,
            "processor time of both, against row by row",
            "us/row",
            [turn.own + turn.engine for turn in sink],
            [median([turn.own + turn.engine for turn in textbook])] * len(sink),
        ),
    ]
