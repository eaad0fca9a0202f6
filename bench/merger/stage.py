"""The merger against what people would use instead, round by round, and every result verified.

Events of `bench.events`, 1 to 3 of 6 keys each, on a third as many requests.  In a round each contender
reads the same topic; what it wrote is then read back, and the value of each key of each request, with the
offset of the event that it came with, must be what a plain fold of the log gives.  Then the merger and Kafka
Streams fill an empty state from what they have written.  At full size a merger is at last given ten million
requests, and its memory is watched.

A quick run is one round, of so few events that Java has hardly begun to compile what it runs: nothing is
judged by Kafka Streams then, which does not restore either, since its group would wait 45 seconds for the
process before.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench import merger_size
from bench.merger.contenders import Afterword, Contender, KafkaStreams, Textbook
from bench.merger.java import Streams
from bench.merger.measured import STREAMS, Measured, figures
from bench.merger.task import Task, task
from bench.merger.watched import pace
from bench.stages import Figure, Say, Size, Stack
from services.local.jars import JarsError

_LAST_HALF = 0.5


class Amount(NamedTuple):
    """How many events there are, how many the textbook has to merge, and how large a state can get."""

    events: int
    textbook: int
    requests: int
    merged: int
    """How many events are merged into the large state."""


_FULL = Amount(1_000_000, 20_000, 10_000_000, 300_000)
_QUICK = Amount(40_000, 2_000, 0, 0)


async def measure(size: Size, stack: Stack, say: Say) -> list[Figure]:
    """Return the figures of all rounds."""
    amount = _QUICK if size.quick else _FULL
    program = await _program(stack, say)
    measured = Measured()
    for number in range(size.long_rounds):
        say(f"round {number + 1} of {size.long_rounds}, {amount.events:,} events")
        async with task(stack, amount.events) as work:
            contenders = _contenders(work, program, amount)
            for contender in contenders if number % 2 else reversed(contenders):
                await _turn(contender, measured, say)
                if not size.quick or contender.name != STREAMS:
                    await _restore(contender, measured, say)
    if amount.requests:
        measured.memory[amount.requests] = await _memory(stack, amount, say)
    return figures(measured, is_warm=not size.quick)


async def _program(stack: Stack, say: Say) -> Streams | None:
    try:
        return await asyncio.to_thread(Streams, stack.home / "streams")
    except JarsError as error:
        say(f"Kafka Streams is not measured: {error}")
        return None


def _contenders(work: Task, program: Streams | None, amount: Amount) -> list[Contender]:
    streams = [] if program is None else [KafkaStreams(work, program)]
    return [Textbook(work, amount.textbook), *streams, Afterword(work)]


async def _turn(contender: Contender, measured: Measured, say: Say) -> None:
    """Let a contender merge, and hold its result against the truth."""
    await contender.prepare()
    marks = await contender.merge()
    await contender.verify()
    whole = pace(marks)
    measured.merging[contender.name].append(whole)
    measured.late[contender.name].append(pace(marks, _LAST_HALF))
    say(f"{contender.name}: {whole.rate:,.0f} events/s, {whole.cost:.1f} us of processor time an event")


async def _restore(contender: Contender, measured: Measured, say: Say) -> None:
    """Let a contender fill an empty state, if it is asked to."""
    restored = await contender.restore()
    if restored is not None:
        measured.restoring[contender.name].append(restored)
        say(f"{contender.name}: {restored.rate:,.0f} states/s restored, {restored.cost:.1f} us each")


async def _memory(stack: Stack, amount: Amount, say: Say) -> float:
    async with stack.topics() as kafka:
        with TemporaryDirectory(dir=stack.home) as home:
            return await merger_size.measure(kafka, amount.requests, amount.merged, Path(home), say)
