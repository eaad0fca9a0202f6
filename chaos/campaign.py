"""A phase of a run: everything started, load, faults wave by wave, rest, and the judge.

Every wait has a limit, and its error names what it waited for.
"""

import asyncio
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from chaos import ledger
from chaos.faults import Fault, Wave
from chaos.judge import Verdict
from chaos.probe import Probe, now
from chaos.quiet import RunFailed, quiet
from chaos.stage import SECOND, Stage, servers
from chaos.strikes import strike
from services.local.processes import Child, python_module

WRITERS, REQUESTS_PER_SECOND = 4, 40.0

_OVER_WITHIN = 600.0
"""Seconds after which a fault that should have ended is reported as hanging."""
_RECOVERS_WITHIN = 600.0
_STOPS_WITHIN = 60.0
AT_ONCE = frozenset({("kill", "supervisor"), ("restart", "kafka")})
"""Faults that are over the moment that they strike."""
_BREATH_SECONDS = 1.0
"""Between two waves."""


@dataclass
class Struck:
    """A fault as it happened: seconds since the run began, and seconds until everything was well again."""

    number: int
    wave: int
    fault: Fault
    at: float
    began: datetime
    ended: datetime | None = None
    over: float = 0.0
    first: float = 0.0
    everywhere: float = 0.0
    detail: str = ""
    recovered: datetime | None = None


@dataclass
class Outcome:
    """The result of a run."""

    struck: list[Struck] = field(default_factory=list)
    sums: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    verdict: Verdict | None = None


class Watcher(Protocol):
    """Receives the progress of the run."""

    def say(self, text: str) -> None:
        """Note that a stage of the run began."""

    def struck(self, one: Struck) -> None:
        """Note that a fault has been recovered from."""


async def run(
    stage: Stage, waves: Sequence[Wave], seed: int, watcher: Watcher, rate: float = REQUESTS_PER_SECOND
) -> Outcome:
    """Strike all waves under load, wait until all is stored, and judge; RunFailed if that does not work."""
    outcome = Outcome()
    clock = asyncio.get_running_loop().time
    began = clock()
    async with _load(stage, seed, rate) as load:
        watcher.say("load goes on, faults begin")
        await _Campaign(stage, outcome, watcher, load).strike(waves)
    watcher.say("load has stopped, waiting until everything is stored")
    await _rest(stage)
    outcome.sums = ledger.sums(stage.ledgers)
    watcher.say("everything has stopped; judging")
    async with servers(stage):
        outcome.verdict = await stage.judged()
    outcome.seconds = clock() - began
    return outcome


class _Campaign:
    def __init__(self, stage: Stage, outcome: Outcome, watcher: Watcher, load: Child) -> None:
        self._stage, self._outcome, self._watcher, self._load = stage, outcome, watcher, load
        self._probe = Probe(stage)
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()

    async def strike(self, waves: Sequence[Wave]) -> None:
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(self._probe.run(), name="probe")
            await self._recovered(self._clock(), "before the first fault")
            for number, wave in enumerate(waves, 1):
                await self._wave(number, wave)
                check(self._load)
                await asyncio.sleep(_BREATH_SECONDS)
            probing.cancel()

    async def _wave(self, number: int, wave: Wave) -> None:
        async with asyncio.TaskGroup() as tasks:
            for fault in wave:
                await asyncio.sleep(fault.after)
                tasks.create_task(self._one(number, fault), name=str(fault))

    async def _one(self, wave: int, fault: Fault) -> None:
        """Strike, wait until it is over, and then until events come through."""
        began = self._clock()
        one = Struck(len(self._outcome.struck) + 1, wave, fault, round(began - self._began, 2), now())
        self._outcome.struck.append(one)
        try:
            async with asyncio.timeout(_OVER_WITHIN + fault.seconds):
                one.detail = await strike(self._stage, fault)
        except (TimeoutError, AssertionError) as error:
            raise RunFailed(f"fault {one.number}, {fault}, could not be carried out: {error!r}") from error
        except asyncio.CancelledError as error:
            # aiokafka may cancel the task that calls it, which a group takes for an end like any other.
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            raise RunFailed(f"fault {one.number}, {fault}, was cancelled from within:\n{where}") from error
        # Who starts again what was ended counts among what recovers, though the strike goes on until then.
        over = began if (fault.fault, fault.target) in AT_ONCE else self._clock()
        one.over, one.ended = round(over - began, 2), now()
        one.first, one.everywhere = await self._recovered(over, f"after fault {one.number}, {fault}")
        one.recovered = now()
        self._watcher.struck(one)

    async def _recovered(self, since: float, when: str) -> tuple[float, float]:
        try:
            found = await self._probe.recovered(since, _RECOVERS_WITHIN)
        except TimeoutError:
            raise RunFailed(
                f"{when}, events of some partition did not show within {_RECOVERS_WITHIN:.0f} s;"
                f" logs: {self._stage.home / 'logs'} and {self._stage.directory}"
            ) from None
        return round(found.first, 2), round(found.everywhere, 2)


@asynccontextmanager
async def _load(stage: Stage, seed: int, rate: float) -> AsyncIterator[Child]:
    """Run the writers for the block, and end them after the request in hand."""
    numbers = (str(seed), str(WRITERS), str(rate))
    arguments = (stage.ingest_url, str(stage.ledgers), *numbers, *stage.traffic)
    command = python_module("chaos.load", *arguments, environment=stage.environ)
    stage.load = child = Child(command, stage.directory / "load.log")
    try:
        yield child
        check(child)
        child.terminate()
        await asyncio.wait_for(asyncio.to_thread(child.wait), _STOPS_WITHIN)
    finally:
        child.kill()


def check(load: Child) -> None:
    """Raise RunFailed when the writers have ended by themselves."""
    if load.exit_code() is not None:
        raise RunFailed(f"the writers ended by themselves: {load.last_lines(3)}")


async def _rest(stage: Stage) -> None:
    """Wait until everything is stored, stop all parts, the second ones first, and leave nothing running."""
    await quiet(stage)
    await asyncio.gather(*(stage.kept[name].rest() for name in SECOND))
    probe = Probe(stage)
    probing = asyncio.create_task(probe.run())
    try:
        await probe.recovered(asyncio.get_running_loop().time(), _RECOVERS_WITHIN)
    except TimeoutError:
        raise RunFailed("at rest, a fresh event did not come through") from None
    finally:
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
    await quiet(stage)
    await stage.verified()
    if (code := await stage.stop()) != 0:
        raise RunFailed(f"the stack ended with {code} at rest; logs: {stage.home / 'logs'}")


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the joint outcome of consecutive phases; each must have been judged."""
    whole, sums = Outcome(), Counter[str]()
    for outcome in outcomes:
        for struck in outcome.struck:
            at = round(struck.at + whole.seconds, 2)
            whole.struck.append(replace(struck, number=len(whole.struck) + 1, at=at))
        whole.seconds += outcome.seconds
        sums.update(outcome.sums)
    whole.sums = dict(sums)
    whole.verdict = Verdict.sum([outcome.verdict for outcome in outcomes if outcome.verdict is not None])
    return whole
