"""`afterword resize` between its options and its report: shows the plan, and takes its steps."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import typer
from aiokafka.errors import KafkaError, ProducerFenced
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console

from schemas.topics import Topology
from services.operations.confirm import Agree
from services.operations.exits import CommandError, UnreachableError, UsageError
from services.operations.progress import ProgressBar
from services.operations.resize.core.plan import (
    ResizePlan,
    ResizeReport,
    ResizeStep,
    differs,
    doing,
    next_step,
    plan,
    plan_lines,
    too_slow,
    total,
    unreachable,
)
from services.operations.resize.ledger import StateLedger
from services.operations.resize.migration import CLIENT, ResizeMigration, reopen, servers
from services.operations.resize.settings import ResizeSettings
from services.operations.transfer import Transfer
from services.pipeline.core.generation_states import Generation, GenerationState, in_use
from services.pipeline.generations import generations
from services.pipeline.survey import admin, recorded
from services.runtime import audit_log
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.insert import UnavailableError

ACT = "resize"
AGAIN_SECONDS = 0.1

_errors = Console(stderr=True)


@dataclass(frozen=True)
class ResizeLimits:
    """How long the pause may last at most, and how long to wait for the services after it, in seconds."""

    pause: float
    arrival: float


async def resize(
    settings: ResizeSettings,
    partitions: int,
    agree: Agree,
    limits: ResizeLimits,
    *,
    anew: bool = False,
    json: bool = False,
) -> ResizeReport | None:
    """Show what would be done, and do it if that is agreed to; None if it is not.

    With `json` standard output has the report alone, and the rest goes to standard error.

    CommandError when it cannot be done; the old generation takes events then, or the text has the remedy.
    """
    async with _reached(settings) as clickhouse:
        planned = await _plan(settings, clickhouse, partitions, anew=anew)
        for line in plan_lines(planned):
            typer.echo(line, err=json)
        if planned.is_needed and not agree(f"Move to {partitions} partitions?"):
            return None
        _record(settings, "begun", planned)
        try:
            report = await _go(settings, planned, clickhouse, limits)
        except BaseException as error:
            _record(settings, "failed", planned, error=type(error).__name__)
            raise
        _record(settings, "done", planned, pause_seconds=report.pause_seconds)
    return report


async def abort(settings: ResizeSettings, agree: Agree) -> str:
    """Open the generation in use again, if that is agreed to; what was done, in words."""
    async with _reached(settings) as clickhouse:
        existing = await _found(settings)
        current = next((one for one in existing if one.number == in_use(existing)), None)
        if current is None or current.standing is GenerationState.OPEN:
            return "No resize has paused ingest: events are being taken."
        if not agree(f"Let generation {current.number} take events again?"):
            return "Nothing was changed."
        way_back = ResizePlan(current, current.number, current.partitions)
        _record(settings, "begun", way_back, abort=True)
        for one in existing:
            if one.standing is GenerationState.NEW:
                await _fenced(settings, Topology(one.number), one.partitions)
        async with servers(settings, clickhouse) as connected:
            await reopen(settings, connected, current.number)
        _record(settings, "done", way_back, abort=True)
    return f"Generation {current.number} takes events again. What was copied stays, for another try."


async def _fenced(settings: ResizeSettings, topology: Topology, partitions: int) -> None:
    """End another run that may still be under way."""
    filling = await Transfer.open(settings, topology.state.name, partitions, topology.filling_group)
    await filling.close()


async def _plan(
    settings: ResizeSettings, clickhouse: AsyncClient, partitions: int, *, anew: bool
) -> ResizePlan:
    existing = await _found(settings)
    taken = [one.generation for one in await recorded(clickhouse, settings.clickhouse_database)]
    wanted = plan(existing, taken, partitions, anew=anew)
    if wanted is None:
        raise CommandError(
            "Kafka has no topics of Afterword's yet: `afterword migrate --partitions N` makes them."
        )
    number = wanted.from_.number
    if settings.is_generation_given and settings.kafka_topic_generation != number:
        raise UsageError(
            f"KAFKA_TOPIC_GENERATION is {settings.kafka_topic_generation}, but generation {number} is in use:"
            " unset it, since only the one in use can be resized."
        )
    if wanted.from_.standing is GenerationState.CLOSED and wanted.from_.partitions == partitions and not anew:
        raise UsageError(
            f"Generation {number} has {partitions} partitions already, and is closed: a resize was cut off."
            " Run it again with the number it was called with, or `afterword resize --abort`."
        )
    if number not in taken:
        raise CommandError(f"ClickHouse has no record of generation {number}: run `afterword migrate` first.")
    return wanted


async def _found(settings: ResizeSettings) -> list[Generation]:
    async with admin(settings, CLIENT) as client:
        return await generations(client)


@dataclass
class _Pause:
    """When events were refused, by a clock that never goes back."""

    began: float | None = None
    ended: float | None = None
    is_whole: bool = True
    """Whether this run has seen its beginning."""

    @property
    def seconds(self) -> float | None:
        if self.began is None:
            return None
        return round((self.ended or time.monotonic()) - self.began, 3)


class _Resize:
    """Takes the steps, and keeps the time."""

    def __init__(self, migration: ResizeMigration, limits: ResizeLimits, bar: ProgressBar) -> None:
        self._migration, self._limits, self._bar = migration, limits, bar
        self.pause = _Pause()
        self.has_tried_to_open = False
        self.copied = 0
        self._waiting_since: float | None = None
        self._absent: Sequence[str] = ()
        self._steps: dict[ResizeStep, Callable[[], Awaitable[None]]] = {
            ResizeStep.CREATE: migration.create,
            ResizeStep.RECORD: migration.record,
            ResizeStep.COPY: lambda: migration.copy(self._copied),
            ResizeStep.CHECK: lambda: migration.check(bar.moved),
            ResizeStep.CLOSE: self._close,
            ResizeStep.DRAIN: self._drain,
            ResizeStep.FENCE: migration.fence,
            ResizeStep.DIFFERS: self._differs,
            ResizeStep.HAND_OVER: migration.hand_over,
            ResizeStep.OPEN: self._open,
        }

    async def go(self) -> None:
        """Take steps until the new generation is open."""
        before: ResizeStep | None = None
        while True:
            facts = await self._migration.facts()
            if facts.is_closed and not facts.is_open and self.pause.began is None:
                self.pause = _Pause(time.monotonic(), is_whole=False)
            step = next_step(facts)
            if step is ResizeStep.ARRIVE:
                return
            if step is not before:
                self._bar.begin(doing(step, is_paused=facts.is_closed), total(step, facts))
            before = step
            await self._steps[step]()

    async def arrive(self) -> Sequence[str]:
        """Wait for every service to work on the new generation; return the groups without a consumer."""
        self._bar.begin(doing(ResizeStep.ARRIVE, is_paused=False), None)
        deadline = time.monotonic() + self._limits.arrival
        while True:
            absent = await self._migration.absent()
            if not absent or time.monotonic() >= deadline:
                return absent
            await asyncio.sleep(AGAIN_SECONDS)

    def _copied(self, count: int) -> None:
        self.copied += count
        self._bar.moved(count)

    async def _close(self) -> None:
        began = time.monotonic()
        self.pause = _Pause(began)
        await self._migration.close()

    async def _open(self) -> None:
        self.has_tried_to_open = True
        await self._migration.open()
        self.pause.ended = time.monotonic()

    async def _drain(self) -> None:
        lag = await self._migration.lag()
        paused = self.pause.seconds
        if paused is not None and paused > self._limits.pause:
            raise CommandError(too_slow(lag, self._limits.pause))
        await asyncio.sleep(AGAIN_SECONDS)

    async def _differs(self) -> None:
        raise CommandError(differs(self._migration.ledger.differing, self._migration.plan))


async def _go(
    settings: ResizeSettings, planned: ResizePlan, clickhouse: AsyncClient, limits: ResizeLimits
) -> ResizeReport:
    ledger = StateLedger(settings.afterword_home / "resize")
    with ProgressBar("Looking", None, _errors) as bar:
        async with servers(settings, clickhouse) as connected:
            migration = ResizeMigration(settings, planned, connected, ledger)
            run = _Resize(migration, limits, bar)
            try:
                if planned.is_needed:
                    await _migrate(migration, run)
                absent = await run.arrive()
            finally:
                await migration.end()
    return ResizeReport(
        from_=planned.from_.number,
        to=planned.to,
        partitions=planned.partitions,
        keys=ledger.keys,
        copied=run.copied,
        pause_seconds=run.pause.seconds,
        pause_is_whole=run.pause.is_whole,
        absent=tuple(absent),
    )


async def _migrate(migration: ResizeMigration, run: _Resize) -> None:
    """Go to the new generation; when that fails, let the old one take events again."""
    try:
        await run.go()
    except ProducerFenced as error:
        raise CommandError("Another resize has begun; this one leaves everything to it.") from error
    except BaseException:
        if run.pause.began is not None and not run.has_tried_to_open:
            with suppress(KafkaError, OSError, TimeoutError):
                await asyncio.shield(
                    reopen(migration.settings, migration.servers, migration.plan.from_.number)
                )
        raise


def _record(settings: ResizeSettings, outcome: str, planned: ResizePlan, **facts: object) -> None:
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    names = {"generation": planned.from_.number, "to": planned.to, "partitions": planned.partitions}
    audit_log.record(settings, ACT, outcome, now, **names, **facts)


@asynccontextmanager
async def _reached(settings: ResizeSettings) -> AsyncIterator[AsyncClient]:
    """Yield a client of ClickHouse, and turn errors of servers into errors that an operator can act on."""
    try:
        client = await connect(settings)
        try:
            yield client
        finally:
            await client.close()
    except (ClickHouseError, UnavailableError) as error:
        raise UnreachableError(unreachable(f"ClickHouse at {settings.clickhouse_url}", error)) from error
    except KafkaError as error:
        raise UnreachableError(unreachable(f"Kafka at {settings.kafka_bootstrap_servers}", error)) from error
