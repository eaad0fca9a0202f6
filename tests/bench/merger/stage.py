"""The merger against what people would use instead, round by round, and every result verified.

Events of `tests.bench.events`, 1 to 3 of 6 keys each, on a third as many requests.  In a round each contender
reads the same topic; what it wrote is then read back, and the value of each key of each request, with the
offset of the event that it came with, must be what a plain fold of the log gives.  Then the merger and Kafka
Streams fill an empty state from what they have written.
"""

import asyncio
from typing import NamedTuple

from services.local.jars import JarsError
from tests.bench.merger.contenders import Afterword, Contender, KafkaStreams, Textbook
from tests.bench.merger.java import Streams
from tests.bench.merger.measured import Measured, figures
from tests.bench.merger.task import Task, task
from tests.bench.merger.watched import pace
from tests.bench.stages import Figure, Say, Size, Stack

_LAST_HALF = 0.5


class Amount(NamedTuple):
    """How many events there are, and how many of them the textbook has to merge."""

    events: int
    textbook: int


_FULL = Amount(1_000_000, 20_000)
_QUICK = Amount(150_000, 5_000)


async def measure(size: Size, stack: Stack, say: Say) -> list[Figure]:
    """Return the figures of all rounds."""
    amount = _QUICK if size.quick else _FULL
    program = await _program(stack, say)
    measured = Measured()
    for number in range(size.rounds):
        say(f"round {number + 1} of {size.rounds}, {amount.events:,} events")
        async with task(stack, amount.events) as work:
            contenders = _contenders(work, program, amount)
            for contender in contenders if number % 2 else reversed(contenders):
                await _turn(work, contender, measured, say)
    return figures(measured)


async def _program(stack: Stack, say: Say) -> Streams | None:
    try:
        return await asyncio.to_thread(Streams, stack.home / "streams")
    except JarsError as error:
        say(f"Kafka Streams is not measured: {error}")
        return None


def _contenders(work: Task, program: Streams | None, amount: Amount) -> list[Contender]:
    streams = [] if program is None else [KafkaStreams(work, program)]
    return [Textbook(work, amount.textbook), *streams, Afterword(work)]


async def _turn(work: Task, contender: Contender, measured: Measured, say: Say) -> None:
    """Let a contender merge, hold its result against the truth, and let it restore its state."""
    await contender.prepare()
    marks = await contender.merge()
    await work.verify(contender.group, contender.output, contender.read)
    whole = pace(marks)
    measured.merging[contender.name].append(whole)
    measured.late[contender.name].append(pace(marks, _LAST_HALF))
    say(f"{contender.name}: {whole.rate:,.0f} events/s, {whole.cost:.1f} us of processor time an event")
    restored = await contender.restore()
    if restored is not None:
        measured.restoring[contender.name].append(restored)
        say(f"{contender.name}: {restored.rate:,.0f} states/s restored, {restored.cost:.1f} us each")
