"""kill -9 in the middle of a load: of the merger, of ingest, of the sink, and of `afterword send` itself."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.oracles.judged_answers import WIN_RATES, judged, write
from tests.support.stack.rows import ask, shows
from tests.support.stack.whole_stack import WholeStack

KILLED = {"merger": 0.1, "ingest": 0.25, "sink": 0.4, "send": 0.55}
"""What is killed, and when: the part of the file that was accepted by then."""


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[WholeStack]:
    """A stack of this test's own: its parts are killed."""
    stack = WholeStack(tmp_path)
    try:
        await stack.start()
        yield stack
        assert await stack.stop() == 0
    finally:
        await stack.kill()


class Load:
    """A file on its way, in a process of its own."""

    def __init__(self, stack: WholeStack, path: Path) -> None:
        self._stack, self._directory = stack, path.parent / "progress"
        self._arguments = ("send", str(path), "--url", stack.ingest_url, "--state-dir", str(self._directory))
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Send, or continue."""
        command = self._stack.command(*self._arguments)
        self.process = await asyncio.create_subprocess_exec(
            *command.argv,
            env=dict(command.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    def accepted(self) -> int:
        """Return how many events ingest has acknowledged."""
        held = [json.loads(path.read_text()) for path in self._directory.glob("*.json")]
        return int(held[0]["accepted"]) if held else 0

    async def kill_when(self, name: str, accepted: int) -> int:
        """Kill one of them once so many events are accepted; return how many it were by then."""
        await eventually(lambda: self.accepted() >= accepted, within=120, every=0.005)
        at = self.accepted()
        if name == "send":
            self.process.kill()
            await self.process.communicate()
            await self.start()
        else:
            os.kill(self._stack.pid(name), signal.SIGKILL)
        return at


async def test_nothing_is_lost_wrong_or_extra(stack: WholeStack, tmp_path: Path) -> None:
    """After the load has been sent to its end, the table is that of a calm day."""
    calm = judged("killed", models=8, questions=800)
    load = Load(stack, write(calm.events, tmp_path / "killed.ndjson.gz"))

    await load.start()
    at = [await load.kill_when(name, int(part * len(calm.events))) for name, part in KILLED.items()]
    out, err = await load.process.communicate()

    assert load.process.returncode == 0, err
    assert f"{len(calm.events):,} accepted, 0 rejected".encode() in out
    assert max(at) < len(calm.events), "the load was over before the last kill"
    for part in KILLED.keys() - {"send"}:
        assert any(line.startswith(f"{part}: killed by SIGKILL") for line in stack.said())
    await shows(stack.settings, "killed-", calm.rows)
    rates = {row[0]: row[1] for row in await ask(stack.settings, WIN_RATES, prefix="killed-")}
    assert rates == {
        model: pytest.approx(float(rate), abs=1e-9) for model, (rate, _) in calm.win_rates.items()
    }
    status = json.loads((await stack.call("status", "--json")).stdout)
    assert status["dead_letters"] == 0
    assert status["rows"] == len(calm.rows)
