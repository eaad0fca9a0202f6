"""`afterword up` from an empty directory to a row in SQL, a stop, and a second start with the same data."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from services.runtime.clickhouse.client import connect
from tests.support.eventually import eventually
from tests.support.stack.whole_stack import WholeStack

PARTS = ("kafka", "warehouse", "ingest", "merger", "sink", "query")
STOPPING = ["ingest", "merger", "sink", "query", "warehouse", "kafka"]


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[WholeStack]:
    """A stack of this test's own, which does not run yet."""
    stack = WholeStack(tmp_path)
    yield stack
    await stack.kill()


async def give(stack: WholeStack, request_id: str, data: dict[str, Any], ingest: int = 1) -> None:
    """Send feedback to one of the ingests and see it accepted."""
    url = f"http://127.0.0.1:{stack.settings.port('ingest', ingest)}"
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post(f"/feedback/{request_id}", json={"data": data})

    assert answer.status_code == 202, answer.text


async def row(stack: WholeStack, request_id: str) -> dict[str, Any] | None:
    """Return what SQL shows of a request's feedback."""
    client = await connect(stack.settings)
    try:
        result = await client.query(
            "SELECT data FROM feedback WHERE request_id = {id:String}", parameters={"id": request_id}
        )
    finally:
        await client.close()
    return json.loads(result.result_rows[0][0]) if result.result_rows else None


def stopping(stack: WholeStack) -> list[str]:
    """Return the parts that were stopped, in their order."""
    return [part for part, _, what in (line.partition(": ") for line in stack.said()) if what == "stopping"]


async def shows(stack: WholeStack, request_id: str, data: dict[str, Any]) -> None:
    """Wait until SQL shows exactly this."""

    async def check() -> bool:
        found = await row(stack, request_id)
        assert found == data
        return True

    await eventually(check, within=60)


async def test_from_an_empty_directory_to_a_row_and_on_after_a_stop(stack: WholeStack) -> None:
    """Post and see the row; kill a part; stop by Ctrl-C; start again and continue with the same data."""
    await stack.start()
    status = json.loads((await stack.call("status", "--json", "--wait")).stdout)
    pids = {part: stack.pid(part) for part in PARTS}
    await give(stack, "chatcmpl-1", {"rating": 5, "comment": "Spot on"})
    await shows(stack, "chatcmpl-1", {"rating": 5, "comment": "Spot on"})

    assert status["ready"]
    assert {part["name"]: part["pid"] for part in status["parts"] if part["pid"]} == pids
    assert not set(psutil.Process(pids["kafka"]).environ()) - {"LC_CTYPE"}, "Java needs nothing of ours"

    os.kill(pids["merger"], signal.SIGKILL)
    await give(stack, "chatcmpl-1", {"rating": 2})
    await shows(stack, "chatcmpl-1", {"rating": 2, "comment": "Spot on"})

    assert stack.pid("merger") != pids["merger"]
    assert "merger: killed by SIGKILL; starts again in 0.5 s" in stack.said()

    code = await stack.stop()

    assert code == 0
    assert stopping(stack) == STOPPING
    assert not any("killed, because" in line for line in stack.said())
    assert not any(psutil.pid_exists(pid) for pid in pids.values())

    stack.environ |= {f"AFTERWORD_{part}S": "2" for part in ("INGEST", "MERGER", "SINK")}
    await stack.start()
    await give(stack, "chatcmpl-1", {"tags": ["late"]}, ingest=2)
    await shows(stack, "chatcmpl-1", {"rating": 2, "comment": "Spot on", "tags": ["late"]})

    status = json.loads((await stack.call("status", "--json")).stdout)
    assert {part["name"]: part["state"] for part in status["parts"]} == {
        "migrate": "done",
        **dict.fromkeys([*PARTS, "ingest-2", "merger-2", "sink-2"], "ready"),
    }
    assert (stack.home / "merger-2" / "lock").exists()
    assert (stack.home / "logs" / "merger-2.log").exists()
    assert await stack.stop(signal.SIGTERM) == 0
    assert stopping(stack)[-9:] == [
        *("ingest", "ingest-2", "merger", "merger-2", "sink", "sink-2", "query", "warehouse", "kafka")
    ]
