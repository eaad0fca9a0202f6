"""Leader tasks run on the leader alone, are retried after a failure, and disturb no route."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest

from services.sink.leader_tasks import LONGEST_PAUSE_SECONDS, LOOK_SECONDS, LeaderTask, LeaderTasks
from tests.support.sink.runs import counted

NUMBERS = count()


class EnoughError(Exception):
    """Ends a loop that would continue for ever."""


@dataclass
class Day:
    """What a task did and how long the pauses were, until a number of pauses is over."""

    waits_left: int
    mine: Iterator[bool] | None = None
    outcomes: Iterator[Exception | None] | None = None
    seconds: float = 5.0
    name: str = field(default_factory=lambda: f"task-{next(NUMBERS)}")
    story: list[str | float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        """Take no time, and end the day after the last wait."""
        self.story.append(seconds)
        self.waits_left -= 1
        if not self.waits_left:
            raise EnoughError

    async def work(self) -> None:
        """Run the task, and succeed or fail."""
        self.story.append("done")
        outcome = next(self.outcomes) if self.outcomes else None
        if outcome:
            raise outcome

    async def lived(self) -> list[str | float]:
        """Return the story of the day."""
        task = LeaderTask(name=self.name, seconds=self.seconds, work=self.work)
        tasks = LeaderTasks([task], lambda: next(self.mine) if self.mine else True, self.sleep)
        with pytest.raises(ExceptionGroup) as ended:
            await tasks.run()
        assert ended.group_contains(EnoughError)
        return self.story


async def test_a_chore_is_done_again_and_again_with_its_pause_between() -> None:
    """The pause is counted from its end, so a slow one never runs twice at once."""
    assert await Day(waits_left=2).lived() == ["done", 5.0, "done", 5.0]


async def test_a_sink_whose_turn_it_is_not_looks_until_it_is() -> None:
    """The owner changes with the group's assignment, and nobody tells it."""
    day = Day(waits_left=3, mine=iter([False, False, True]))

    assert await day.lived() == [LOOK_SECONDS, LOOK_SECONDS, "done", 5.0]
    assert counted("sink_chore_turn", chore=day.name) == 1


async def test_a_sink_that_lost_its_turn_stops_doing_the_chore() -> None:
    """Its metric says so, too."""
    day = Day(waits_left=2, mine=iter([True, False]))

    assert await day.lived() == ["done", 5.0, LOOK_SECONDS]
    assert counted("sink_chore_turn", chore=day.name) == 0


async def test_a_chore_that_fails_is_counted_and_tried_again_ever_later() -> None:
    """Once it has worked, a new failure is tried again soon."""
    failure = OSError("ClickHouse is away")
    outcomes = iter([*[failure] * 5, None, failure])
    day = Day(waits_left=7, outcomes=outcomes)

    waits = [one for one in await day.lived() if one != "done"]

    assert waits == [5.0, *[LONGEST_PAUSE_SECONDS] * 4, 5.0, 5.0]
    assert counted("sink_chore_failures_total", chore=day.name) == 6
    assert counted("sink_chore_runs_total", chore=day.name) == 7


async def test_a_frequent_chore_that_fails_waits_a_second_at_least() -> None:
    """Whatever it asks for is not asked in a loop without a pause."""
    day = Day(waits_left=2, seconds=0.01, outcomes=iter([OSError(), OSError()]))

    assert await day.lived() == ["done", 1.0, "done", 2.0]


async def test_a_chore_that_hangs_holds_up_no_other() -> None:
    """Each has a task of its own, and a cancelled sink leaves none behind."""
    hangs, works, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        hangs.set()
        await asyncio.Event().wait()

    async def work() -> None:
        works.set()

    async def close() -> None:
        closed.set()

    chores = [
        LeaderTask(name="hangs", seconds=1, work=hang, close=close),
        LeaderTask(name="works", seconds=1, work=work),
    ]
    task = asyncio.create_task(LeaderTasks(chores, lambda: True).run())
    await hangs.wait()
    await works.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    assert not {one for one in asyncio.all_tasks() if one.get_name().startswith("chore ")}
