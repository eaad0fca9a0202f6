"""The merger on our Faust transport against Faust's public batches: `python -m bench.faust_batches`.

It starts a Kafka of its own.  In each round both merge the same events through the same partitions, fold and
transactions; only the way in which Faust delivers them differs:

    transport   `services.merger.faust_transport`: one message is all that one fetch brought, undecoded
    public      `stream.noack_take()` on Faust's own transport: one message and one event for each record

The public way is so much slower that it merges the first events of the log only.  The result of every run is
compared with a plain fold of the log.  A rate counts from the first commit of a
run to its last; processor time is of all threads of the merger's process.  Ratios hold on a busy machine,
rates do not.
"""

import argparse
import asyncio
import os
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import faust
import msgspec
import psutil

from bench.merger.contenders import Afterword
from bench.merger.task import Task, task
from bench.merger.watched import Pace, pace
from bench.stages import Stack
from services.merger import service
from services.merger.__main__ import main as run_merger
from services.merger.app import Merger, app_options
from services.merger.context import Setup

WORKER = "worker"
WITHIN_SECONDS = 0.5
"""How long `noack_take` waits for a batch to become full."""


class _Record(msgspec.Struct, gc=False):
    """A record as the merger reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class PublicMerger(Merger):
    """The merger, with what Faust documents for batches of a stream."""

    def application(self, setup: Setup) -> faust.App:
        """Return a Faust application on Faust's own transport."""
        return faust.App(**app_options(setup))

    def define_agent(self) -> None:
        """Define an agent that takes batches of events, and acknowledges them once they are merged."""
        setup = self._setup
        events = self.app.topic(
            setup.topology.events.name, key_type=bytes, value_type=bytes, value_serializer="raw"
        )

        @self.app.agent(events)
        async def merger(stream: Any) -> None:
            async for taken in stream.noack_take(setup.settings.merger_batch_records, WITHIN_SECONDS):
                partitions = defaultdict(list)
                for event in taken:
                    partitions[event.message.tp].append(_record(event))
                for tp, records in partitions.items():
                    await self.merge(tp, records)
                for event in taken:
                    event.ack()


def _record(event: Any) -> _Record:
    message = event.message
    headers = message.headers or []
    timestamp = int(message.timestamp * 1000)
    return _Record(message.offset, timestamp, message.key, message.value, [*headers])


class Transport(Afterword):
    """The merger as it is."""

    name = "transport"


class Public(Afterword):
    """The merger with the public way of Faust."""

    name = "public"
    share = 0.15
    """Of the events, how many are merged after the first commit."""
    program = ("bench.faust_batches", WORKER)

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._least = int(self.share * task.events)


async def measure(events: int, rounds: int, home: Path) -> dict[str, list[Pace]]:
    """Return the paces of all rounds, one of each contender a round, in alternating order."""
    paces: dict[str, list[Pace]] = defaultdict(list)
    stack = Stack(home)
    try:
        for number in range(rounds):
            for contender in (Transport, Public) if number % 2 == 0 else (Public, Transport):
                async with task(stack, events) as work:
                    running = contender(work)
                    marks = await running.merge()
                    await running.verify()
                found = pace(marks)
                paces[contender.name].append(found)
                load = psutil.getloadavg()[0]
                _print(f"round {number + 1}, {contender.name:9}: {_shown(found)}, load {load:.1f}")
    finally:
        await stack.kill()
    return paces


def _medians(paces: list[Pace]) -> Pace:
    return Pace(median(one.rate for one in paces), median(one.cost for one in paces))


def _shown(found: Pace) -> str:
    return f"{found.rate:>9,.0f} events/s, {found.cost:7.1f} us of processor time an event"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the arguments, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=400_000, help="events in the log of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender")
    arguments = parser.parse_args()
    with TemporaryDirectory() as home:
        paces = asyncio.run(measure(arguments.events, arguments.rounds, Path(home)))
    ours, public = (_medians(paces[name]) for name in (Transport.name, Public.name))
    _print(f"medians, transport: {_shown(ours)}")
    _print(f"medians, public:    {_shown(public)}")
    _print(
        f"the transport merges {ours.rate / public.rate:.1f} times as many events a second,"
        f" with 1/{public.cost / ours.cost:.1f} of the processor time"
    )


if __name__ == "__main__":
    if sys.argv[1:] == [WORKER]:
        vars(service)["Merger"] = PublicMerger
        sys.exit(run_merger([]))
    os.environ.setdefault("LOG_LEVEL", "warning")
    main()
