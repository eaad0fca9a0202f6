"""Executes the examples of a page, in order, the way a reader would who types them in.

A page names the addresses and the database that a fresh installation has.  The tests' stack has others:
they are put in before an example runs, and taken out of what it gives.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clickhouse_connect.driver.asyncclient import AsyncClient

from tests.support.docs.expectations import complaint_about_output, complaint_about_rows
from tests.support.docs.pages import ROOT, Block, Example, Rows
from tests.support.eventually import eventually

SECONDS_AN_EXAMPLE = 120
SECONDS_UNTIL_VISIBLE = 90
NULL = "ᴺᵁᴸᴸ"
"""How ClickHouse's string formats write NULL."""

PYTHONPATH = os.pathsep.join((str(ROOT), str(ROOT / "clients" / "python" / "src")))

PRELUDE = f"""\
set -euo pipefail
afterword() {{ {sys.executable} -m services.cli.app "$@"; }}
set -a
[ ! -e .exported ] || . ./.exported
trap 'export -p > .exported' EXIT
"""
"""`afterword` is this checkout's.  What a block sets, the next one sees, as in one shell."""


class Printed(NamedTuple):
    """What a program left: its exit code, and all that a terminal would have shown."""

    code: int
    text: str


@dataclass(frozen=True)
class Place:
    """Where examples run: a directory of their own, the environment, and the stack's addresses.

    `addresses` maps each address that pages name to the one that is meant here.  `clickhouse` is None on
    a page without SQL.
    """

    directory: Path
    environment: Mapping[str, str]
    addresses: Mapping[str, str]
    clickhouse: AsyncClient | None = None
    seconds: float = SECONDS_AN_EXAMPLE
    """How long an example may run."""

    def localised(self, text: str) -> str:
        """Return the text with the addresses that are meant here."""
        for named, meant in self.addresses.items():
            text = text.replace(named, meant)
        return text

    def generalised(self, text: str) -> str:
        """Return the text with the addresses that pages name."""
        for named, meant in self.addresses.items():
            text = text.replace(meant, named)
        return text.replace(str(self.directory), ".")


async def execute(example: Example, place: Place) -> None:
    """Run an example and compare what it gives; AssertionError says how it differs from the page."""
    match example.block.language:
        case "sh" if {"elsewhere", "compose"}.intersection(example.block.words):
            """Another test runs it."""
        case "sql":
            await _sql(example, place)
        case "sh" if "eventually" in example.block.words:
            await eventually(lambda: _printed(example, place), within=SECONDS_UNTIL_VISIBLE, every=0.25)
        case "sh" | "python":
            await _printed(example, place)


async def execute_composed(example: Example, place: Place) -> None:
    """Run a command for `docker compose` and compare what it prints, maybe sooner or later."""
    if "eventually" in example.block.words:
        await eventually(lambda: _printed(example, place), within=place.seconds, every=1.0)
    else:
        await _printed(example, place)


async def _printed(example: Example, place: Place) -> bool:
    printed = await _run(example.block, place)
    expected_code = _expected_code(example.block)
    if expected_code != printed.code:
        raise AssertionError(f"exit code {printed.code}:\n{printed.text}{_kept(example.block, place)}")
    if example.output:
        complaint = complaint_about_output(example.output, place.generalised(printed.text))
        assert complaint is None, complaint
    return True


def _kept(block: Block, place: Place) -> str:
    """Return what the block led into log files, which no page shows, but a failure must."""
    files = (place.directory / name for name in re.findall(r">\s*(\S+\.log)\b", block.text))
    return "".join(f"\n{file.name}:\n{file.read_text()}" for file in files if file.exists())


def _expected_code(block: Block) -> int:
    return next((int(word.partition("=")[2]) for word in block.words if word.startswith("exit=")), 0)


async def _run(block: Block, place: Place) -> Printed:
    command = (
        ("bash", "-c", PRELUDE + place.localised(block.text))
        if block.language == "sh"
        else (sys.executable, "-W", "error", "-c", place.localised(block.text))
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=place.directory,
        env=_environment(place),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        text, _ = await asyncio.wait_for(process.communicate(), place.seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"it ran for more than {place.seconds} s") from None
    return Printed(process.returncode or 0, text.decode())


def _environment(place: Place) -> dict[str, str]:
    """Return the environment of a plain user's shell, from which this checkout can be imported."""
    plain = {"HOME": str(place.directory), "LANG": "C.UTF-8", "COLUMNS": "100", "TERM": "dumb"}
    path = os.environ.get("PATH", os.defpath)
    return {**plain, "PATH": path, "PYTHONPATH": PYTHONPATH, **place.environment}


async def _sql(example: Example, place: Place) -> None:
    assert place.clickhouse is not None, "the page needs a stack"
    statement = example.block.text.strip().removesuffix(";")
    if "server" in example.block.words:
        await place.clickhouse.raw_query(f"EXPLAIN AST {statement}")
        return
    assert example.rows is not None
    await eventually(
        lambda: _rows_are_there(place, statement, example), within=SECONDS_UNTIL_VISIBLE, every=0.25
    )


async def _rows_are_there(place: Place, statement: str, example: Example) -> bool:
    assert place.clickhouse is not None
    assert example.rows is not None
    complaint = complaint_about_rows(example.rows, await _result(place, place.clickhouse, statement))
    assert complaint is None, complaint
    return True


async def _result(place: Place, client: AsyncClient, statement: str) -> Rows:
    answer = await client.raw_query(place.localised(statement), fmt="JSONCompactStringsEachRowWithNames")
    header, *rows = [json.loads(line) for line in place.generalised(answer.decode()).splitlines()]
    return Rows(header, [list(map(_as_in_a_table, row)) for row in rows])


def _as_in_a_table(cell: str) -> str:
    """Return a value as the cell of a page has it: without backticks, which make code spans there."""
    return cell.replace(NULL, "NULL").replace("`", "").strip()
