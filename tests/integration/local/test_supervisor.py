"""The supervisor over real processes: small programs in place of the parts."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from services.local import processes
from services.local.core.plan import Part
from services.local.core.supervision import Observation, Phase
from services.local.home import Home, addresses
from services.local.orphans import end_orphans
from services.local.processes import Child, Command, is_running
from services.local.runners import PartRunner
from services.local.supervisor import PartFailedError, Supervisor
from tests.support.eventually import eventually

# Says when it is ready and when it stops; `stubborn` never stops when it is asked to.
PROGRAM = """
import pathlib, signal, sys, time
name, journal, manner = sys.argv[1:]
def note(what):
    with open(journal, "a") as file: file.write(f"{name} {what}\\n")
def stop(*_):
    note("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if manner == "stubborn" else stop)
if manner == "wrong":
    print("INGEST_PRT: no such setting")
    sys.exit(2)
if manner == "broken":
    sys.exit("it broke")
if manner == "task":
    note("done")
    sys.exit(0)
note("ready")
while True: time.sleep(60)
"""


class Bench:
    """A home, a journal in which programs say what they did, and runners made for a test."""

    def __init__(self, directory: Path) -> None:
        self.home = Home(directory)
        self.home.make()
        self.journal = directory / "journal"
        self.said: list[str] = []
        self.has_ended = False
        self.now: float | None = None

    def runner(self, name: str, *needs: str, manner: str = "orderly") -> PartRunner:
        """Return a part that runs the program."""
        command = Command((sys.executable, "-I", "-S", "-c", PROGRAM, name, str(self.journal), manner))

        async def prepare() -> Command:
            return command

        once = manner == "task"
        return PartRunner(Part(name, needs, once), prepare, None if once else partial(self._probe, name))

    def report(self, line: str) -> None:
        """Keep what the supervisor reports."""
        self.said.append(line)

    record = report

    async def _probe(self, name: str) -> Observation:
        return Observation(ready=f"{name} ready" in self.lines(), alive=True)

    def lines(self) -> list[str]:
        """Return what programs did, in order."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    @asynccontextmanager
    async def running(self, *runners: PartRunner) -> AsyncIterator[tuple[Supervisor, asyncio.Event]]:
        """Run a supervisor for the block, then stop it in order; `hurry` makes that sudden."""
        supervisor = Supervisor(runners, self.home, self, clock=lambda: self.now or time.monotonic())
        stopping, hurry = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(supervisor.run(stopping))
        task.add_done_callback(lambda _: setattr(self, "has_ended", True))
        try:
            yield supervisor, hurry
        finally:
            stopping.set()
            await asyncio.gather(task, return_exceptions=True)
            await supervisor.stop(hurry)
        await task


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench of this test's own."""
    return Bench(tmp_path)


def is_ready(supervisor: Supervisor) -> Callable[[], bool]:
    """Return the check that everything is ready."""
    return lambda: supervisor.is_ready


async def test_commands_beside_it_learn_where_the_parts_are(bench: Bench) -> None:
    """From the first record to the last, and no longer."""
    part = replace(bench.runner("ingest"), address="http://127.0.0.1:18300")
    async with bench.running(part) as (supervisor, _):
        await eventually(is_ready(supervisor))
        assert addresses(bench.home.path) == {"AFTERWORD_URL": "http://127.0.0.1:18300"}


async def test_parts_start_after_what_they_need_and_stop_in_the_order_of_the_flow(bench: Bench) -> None:
    """Servers first, the task between, services last; then ingest, merger, sink, and the servers."""
    parts = [
        bench.runner("kafka"),
        bench.runner("warehouse"),
        bench.runner("migrate", "kafka", "warehouse", manner="task"),
        bench.runner("ingest", "kafka", "migrate"),
        bench.runner("merger", "kafka", "migrate"),
        bench.runner("sink", "warehouse", "migrate"),
    ]
    async with bench.running(*parts) as (supervisor, _):
        await eventually(is_ready(supervisor))
        started = bench.lines()

    assert {*started[:2]} == {"kafka ready", "warehouse ready"}
    assert started[2] == "migrate done"
    assert {*started[3:]} == {"ingest ready", "merger ready", "sink ready"}
    assert bench.lines()[6:] == [
        f"{name} stopped" for name in ("ingest", "merger", "sink", "warehouse", "kafka")
    ]
    assert bench.home.state() == {}
    assert not list(bench.home.run.glob("*.pid"))


async def test_a_part_that_dies_is_started_again_and_reported(bench: Bench) -> None:
    """With a new process id in its file, and nobody else disturbed."""
    async with bench.running(bench.runner("kafka"), bench.runner("merger", "kafka")) as (supervisor, _):
        await eventually(is_ready(supervisor))
        kafka, merger = (int(bench.home.pid_file(name).read_text()) for name in ("kafka", "merger"))
        os.kill(merger, signal.SIGKILL)
        await eventually(lambda: supervisor.states["merger"].restarts == 1 and supervisor.is_ready)

        assert int(bench.home.pid_file("merger").read_text()) not in {merger, kafka}
        assert int(bench.home.pid_file("kafka").read_text()) == kafka
        assert bench.home.state()["parts"]["merger"]["restarts"] == 1

    assert "merger: killed by SIGKILL; starts again in 0.5 s" in bench.said
    assert "merger: starting again" in bench.said


async def test_a_part_that_keeps_ending_shows_its_last_words_and_rests_longer(bench: Bench) -> None:
    """Whoever looks at the lines sees why."""
    async with bench.running(bench.runner("merger", manner="broken")):
        await eventually(lambda: len([line for line in bench.said if "it broke" in line]) >= 2)

    rests = [line for line in bench.said if "it broke" in line]
    assert rests[:2] == [
        "merger: ended with exit code 1: it broke; starts again in 0.5 s",
        "merger: ended with exit code 1: it broke; starts again in 1 s",
    ]


async def test_a_full_disk_stops_nothing_and_is_reported_once(bench: Bench) -> None:
    """What runs continues; once there is room again, it is recorded as if nothing had been."""
    records = [bench.home.run / f".{name}.incoming" for name in ("state.json", "kafka.pid", "merger.pid")]
    for record in records:
        record.symlink_to("/dev/full")
    async with bench.running(bench.runner("kafka"), bench.runner("merger", "kafka")) as (supervisor, _):
        await eventually(is_ready(supervisor))
        assert bench.home.state() == {}
        for record in records:
            record.unlink()
        await eventually(bench.home.state)
        assert bench.home.state()["parts"]["merger"]["state"] == "ready"

    assert len([line for line in bench.said if "the disk is full" in line]) == 1
    assert bench.lines()[-2:] == ["merger stopped", "kafka stopped"]


async def test_a_part_with_wrong_settings_ends_the_run(bench: Bench) -> None:
    """No restart can mend them, and everything else is stopped in order."""
    kafka, ingest = bench.runner("kafka"), bench.runner("ingest", "kafka", manner="wrong")
    with pytest.raises(PartFailedError, match="ingest ended with exit code 2: INGEST_PRT: no such setting"):
        async with bench.running(kafka, ingest) as (supervisor, _):
            await eventually(lambda: supervisor.states["ingest"].phase is Phase.FAILED)

    assert bench.lines() == ["kafka ready", "kafka stopped"]


async def test_what_cannot_be_prepared_ends_the_run(bench: Bench) -> None:
    """A jar that cannot be had, say: its own error is what the user sees."""

    async def prepare() -> Command:
        raise LookupError("no jar")

    with pytest.raises(LookupError, match="no jar"):
        async with bench.running(PartRunner(Part("kafka"), prepare)):
            await eventually(lambda: bench.has_ended)


async def test_a_part_that_does_not_stop_is_killed_after_its_grace(bench: Bench) -> None:
    """Others stop in their turn before it."""
    parts = [bench.runner("kafka", manner="stubborn"), bench.runner("ingest")]
    async with bench.running(*parts) as (supervisor, _):
        await eventually(is_ready(supervisor))
        pid = supervisor.pid("kafka")
        asyncio.get_running_loop().call_later(0.5, setattr, bench, "now", time.monotonic() + 60)

    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert "ingest stopped" in bench.lines()
    assert any(line.startswith("kafka: killed, because it had not stopped after ") for line in bench.said)


async def test_a_part_is_killed_at_once_when_the_user_is_in_a_hurry(bench: Bench) -> None:
    """The time of its grace, which stands still here, plays no part."""
    async with asyncio.timeout(60), bench.running(bench.runner("kafka", manner="stubborn")) as (part, hurry):
        await eventually(is_ready(part))
        bench.now = time.monotonic()
        hurry.set()

    assert "kafka: killed, as asked" in bench.said


async def test_no_part_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """The kernel ends the children of a process that got SIGKILL."""
    script = f"""
import sys, time
from pathlib import Path
from services.local import processes
from services.local.processes import Child, Command
child = Child(Command((sys.executable, "-c", "import time; time.sleep(60)")), Path({str(tmp_path / "log")!r}))
Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
time.sleep(60)
"""
    root = str(Path(__file__).parents[3])
    parent = Child(Command((sys.executable, "-c", script), {"PYTHONPATH": root}), tmp_path / "parent.log")
    grandchild = await eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    await eventually(lambda: psutil.Process(int(grandchild)).cmdline()[1:2] == ["-c"])
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    await eventually(lambda: not psutil.pid_exists(int(grandchild)))


def test_a_program_is_quoted_with_its_own_last_words(tmp_path: Path) -> None:
    """Not with those of an earlier run, of which the log is full, nor with empty lines."""
    log = tmp_path / "sink.log"
    log.write_text("an earlier run\n")
    silent = Child(Command((sys.executable, "-I", "-S", "-c", "")), log)
    silent.wait()
    quoted = silent.last_lines(5)
    telling = Child(Command((sys.executable, "-I", "-S", "-c", "print('first\\nlast\\n\\n')")), log)
    telling.wait()

    assert quoted == []
    assert telling.last_lines(1) == ["last"]
    assert telling.last_lines(5) == ["first", "last"]


def test_a_program_whose_parent_is_gone_already_does_not_start() -> None:
    """The kernel tells of a parent's end only those who asked before it."""
    script = Path(processes.__file__).with_name("die_with_parent.py")
    command = [
        sys.executable,
        "-I",
        "-S",
        str(script),
        str(os.getpid() + 1),
        sys.executable,
        "-c",
        "print(1)",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (1, "")
    assert "has ended" in result.stderr


async def test_what_an_earlier_supervisor_left_is_ended_before_a_new_one_starts(bench: Bench) -> None:
    """Where the kernel did not: known by its recorded id and the time it was made."""
    command = Command((sys.executable, "-I", "-S", "-c", PROGRAM, "kafka", str(bench.journal), "stubborn"))
    orphan = Child(command, bench.home.log("kafka"))
    await eventually(lambda: bench.lines() == ["kafka ready"])
    bench.home.write_pid("kafka", orphan.pid)
    part = {"pid": orphan.pid, "created": orphan.identity.created}
    bench.home.write_state({"pid": 1, "created": 0.0, "parts": {"kafka": part, "sink": {"pid": None}}})

    assert end_orphans(bench.home) == [orphan.pid]
    assert not is_running(orphan.identity)
    assert not bench.home.pid_file("kafka").exists()
    assert bench.home.state() == {}
    orphan.wait()
