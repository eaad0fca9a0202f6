"""Runs programs that use clients of other systems, each in the environment that `scripts/clients.sh` made."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".venv" / "clients"
PROGRAMS = ROOT / "tests" / "e2e" / "clients" / "programs"
IS_REQUIRED = bool(os.environ.get("CI") or os.environ.get("AFTERWORD_REQUIRE_CLIENTS"))
SECONDS = 120.0


class ClientRun(NamedTuple):
    """What a program printed: the result of each call by name, what each call raised, and its log."""

    returned: dict[str, Any]
    raised: dict[str, str]
    log: str


async def run_client(program: str, environment: str, address: str, key: str, run: str) -> ClientRun:
    """Run a program to its end; skip the test where its environment is not installed."""
    directory = ENVIRONMENTS / environment
    if not (directory / "installed").exists():
        if IS_REQUIRED:
            pytest.fail(f"{directory} is not installed: run scripts/clients.sh")
        pytest.skip("scripts/clients.sh installs the clients of other systems")
    if program.endswith(".mjs"):
        # Node looks for packages in the directories above a module, and follows links.
        for source in PROGRAMS.glob("*.mjs"):
            shutil.copy(source, directory / source.name)
        command = ["node", str(directory / program)]
    else:
        command = [str(directory / "bin" / "python"), str(PROGRAMS / program)]
    variables = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command,
        *(address, key, run),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=variables,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    log = err.decode()
    assert process.returncode == 0, log
    calls = [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]
    return ClientRun(
        {call["call"]: call["returned"] for call in calls if "returned" in call},
        {call["call"]: f"{call['raised']}: {call['text']}" for call in calls if "raised" in call},
        log,
    )
