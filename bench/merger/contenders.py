"""Who merges: Afterword's merger as it is deployed, Kafka Streams, and a Faust agent from the tutorial.

All of them read the same topic from its beginning, have what they write acknowledged by all replicas, and are
timed from their first events on, so that no start counts.  How far the Python programs are is asked of Kafka,
by the offsets that their groups have committed; Kafka Streams, which commits twice a minute, says it itself.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from bench.merger.java import Streams
from bench.merger.measured import AFTERWORD, STREAMS, TEXTBOOK
from bench.merger.task import CLIENT, CONTENDERS, Task
from bench.merger.truth import Fields, of_row, of_state
from bench.merger.watched import Mark, Pace, Watched, pace, watched
from bench.stages import PARTITIONS
from services.local.processes import Command, python_module
from services.pipeline.survey import admin
from tests.support.merger.partitions import NOWHERE


class Contender(ABC):
    """Merges the events of a task; `output` is the topic of its states, `group` commits its offsets."""

    name: ClassVar[str]
    read: Callable[[bytes], Fields] = staticmethod(of_state)

    def __init__(self, task: Task) -> None:
        self._task, self._least = task, task.events
        self.group = self.output = f"{CONTENDERS}{self.name}-v{task.topology.generation}"

    async def prepare(self) -> None:
        """Make what is not there yet: its output."""
        await self._task.make_output(self.output)

    @abstractmethod
    async def merge(self) -> list[Mark]:
        """Merge, and return marks from the first events to the last commit."""

    @abstractmethod
    async def restore(self) -> Pace | None:
        """Fill an empty state from what it has written; the pace counts records; None: not measured."""

    async def verify(self) -> None:
        """Hold what it has written against a fold of the events; WrongResult."""
        await self._task.verify(self.group, self.output, self.read, self._least)

    def _variables(self, directory: str) -> Mapping[str, str]:
        """Return the environment of the peers' programs."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self._task.kafka.kafka_bootstrap_servers,
            "APPLICATION": self.group,
            "EVENTS": self._task.topology.events.name,
            "STATE": self.output,
            "STATE_DIRECTORY": str(self._task.home / f"{self.name}-{directory}"),
            "PARTITIONS": str(PARTITIONS),
        }

    async def _merge(self, command: Command) -> list[Mark]:
        """Run a program until its group has committed all events, or as many as it must after its first."""
        marks: list[Mark] = []
        log = self._task.home / f"{self.name}.log"
        async with admin(self._task.kafka, CLIENT) as client, watched(command, log) as process:
            async for _ in process.looks():
                done = sum((await self._task.committed(client, self.group)).values())
                if done > (marks[-1].done if marks else 0):
                    marks.append(process.mark(done))
                if done == self._task.events or (marks and done - marks[0].done >= self._least):
                    break
            await process.stop()
        return marks


class Afterword(Contender):
    """`python -m services.merger`, with every setting as it comes."""

    name = AFTERWORD
    program: ClassVar[tuple[str, ...]] = ("services.merger",)
    """The module that is run, and its arguments."""
    read = staticmethod(of_row)

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.group, self.output = task.topology.merger_group, task.topology.state.name

    async def prepare(self) -> None:
        """Do nothing: the topic of the states is there."""

    async def merge(self) -> list[Mark]:
        """Merge all events."""
        return await self._merge(self._command("home"))

    async def restore(self) -> Pace:
        """Read all states back into an empty directory."""
        async with watched(self._command("restored"), self._task.home / "restored.log") as process:
            restored = await self._restored(process)
            await process.stop()
        return restored

    async def _restored(self, process: Watched) -> Pace:
        marks: list[Mark] = []
        full: set[int] = set()
        done = 0
        async for _ in process.looks():
            for line in map(_logged, process.lines()):
                if line.get("event") == "partitions assigned":
                    marks.append(process.mark(0))
                if line.get("event") == "rows read back":
                    full.add(line["partition"])
                    done += line["rows"]
            if len(full) == PARTITIONS:
                break
        return pace([*marks, process.mark(done)])

    def _command(self, directory: str) -> Command:
        variables = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self._task.kafka.kafka_bootstrap_servers,
            "KAFKA_TOPIC_GENERATION": str(self._task.topology.generation),
            "CLICKHOUSE_URL": NOWHERE,
            "AFTERWORD_HOME": str(self._task.home / directory),
            "MERGER_METRICS_PORT": "0",
            "LOG_FORMAT": "json",
        }
        return python_module(*self.program, environment=variables)


class KafkaStreams(Contender):
    """`groupByKey().aggregate()`, with every setting as it comes."""

    name = STREAMS

    def __init__(self, task: Task, program: Streams) -> None:
        super().__init__(task)
        self._program = program

    async def merge(self) -> list[Mark]:
        """Merge all events."""
        command = self._command("state", "merge", self._task.events)
        marks: list[Mark] = []
        async with watched(command, self._task.home / f"{self.name}.log") as process:
            async for _ in process.looks():
                for line in process.lines():
                    if line.startswith("merged "):
                        marks.append(process.mark(int(line.removeprefix("merged "))))
                    if line == "closed":
                        return [*marks, process.mark(self._task.events)]
        return marks

    async def restore(self) -> Pace:
        """Fill an empty store from the changelog."""
        command = self._command("restored", "restore", PARTITIONS)
        marks: list[Mark] = []
        async with watched(command, self._task.home / f"{self.name}-restored.log") as process:
            async for _ in process.looks():
                for line in process.lines():
                    if line == "restoring":
                        marks.append(process.mark(0))
                    if line.startswith("restored "):
                        return pace([*marks, process.mark(int(line.removeprefix("restored ")))])
        raise AssertionError

    def _command(self, directory: str, *arguments: object) -> Command:
        return self._program.command(*map(str, arguments), variables=self._variables(directory))


class Textbook(Contender):
    """A Faust agent with a table; so slow that it merges the first events only."""

    name = TEXTBOOK

    def __init__(self, task: Task, events: int) -> None:
        super().__init__(task)
        self._least = events

    async def merge(self) -> list[Mark]:
        """Merge at least the requested number of events."""
        arguments = ("worker", "--loglevel", "warn", "--without-web")
        variables = {**os.environ, **self._variables("state")}
        command = python_module("bench.merger.textbook", *arguments, environment=variables)
        return await self._merge(command)

    async def restore(self) -> None:
        """How long that takes is not measured."""


def _logged(line: str) -> dict[str, Any]:
    return json.loads(line) if line.startswith("{") else {}
