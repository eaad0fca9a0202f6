"""`afterword export` from a real query service, over a line that is cut."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.cutting_proxy import Cutting, cutting
from tests.support.clickhouse.tables import create_tables, insert
from tests.support.eventually import eventually
from tests.support.http.server import serving
from tests.support.operations.command import Ended, afterword, started
from tests.support.query.app import query_over, reading_key
from tests.support.query.exports import fill, hostile_rows, parquet_ending, read_ndjson, read_parquet

MANY = 2000
FORMATS = ("csv", "ndjson", "parquet")


@pytest.fixture
async def way(clickhouse_settings: ClickHouseSettings, tmp_path: Path) -> AsyncIterator[Cutting]:
    """A way to a query service over a few thousand rows, some of them hostile."""
    await create_tables(clickhouse_settings)
    await insert(clickhouse_settings, "feedback_state", hostile_rows())
    await fill(clickhouse_settings, MANY, size=400)
    async with serving(query_over(clickhouse_settings, tmp_path)) as url, cutting(url) as between:
        yield between


async def export(way: Cutting, *arguments: str | Path) -> Ended:
    """Call it beside the service, which runs in this thread."""
    return await asyncio.to_thread(afterword, "export", *arguments, environ={"AFTERWORD_QUERY_URL": way.url})


async def whole(way: Cutting, format_: str) -> bytes:
    """Return the file that the service gives."""
    async with httpx.AsyncClient(timeout=60) as client:
        return (await client.get(f"{way.url}/v1/feedback/export", params={"format": format_})).content


def rows_noted(file: Path) -> int:
    """Return how many rows a call can continue behind."""
    note = file.with_name(f"{file.name}.partial.json")
    return int(json.loads(note.read_bytes())["mark"]["rows"]) if note.exists() else 0


def is_further(file: Path, rows: int) -> bool:
    """Return whether a call can continue behind more rows than these."""
    return rows_noted(file) > rows


def files(directory: Path) -> set[str]:
    """Return the names of what is there; the lock beside a key file is another command's."""
    return {path.name for path in directory.iterdir() if path.is_file() and path.name != ".keys.toml.lock"}


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_file_is_what_the_service_gives_whatever_is_cut(
    format_: str, way: Cutting, tmp_path: Path
) -> None:
    """Cut in its head, in a row, and again: each row is there once, and nothing but the file is left."""
    expected = await whole(way, format_)
    way.cuts.extend((100, 3000, 200_000, 50_000))
    file = tmp_path / f"feedback.{format_}"
    file.write_bytes(b"an older one")
    ended = await export(way, file)

    assert (ended.code, file.read_bytes()) == (0, expected), ended.err
    assert ended.out.startswith(f"{file}: {MANY + 17:,} rows, ")
    assert files(tmp_path) == {file.name}
    assert "waiting" in ended.err
    behind = ["cursor=" in question for question in way.questions[1:]]
    assert behind == ([False] * 5 if format_ == "parquet" else [False, False, True, True, True])


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
async def test_the_same_call_continues_later(format_: str, way: Cutting, tmp_path: Path) -> None:
    """What an impatient call left is taken up, under the same question alone."""
    expected = await whole(way, format_)
    file = tmp_path / f"feedback.{format_}"
    way.cuts.append(300_000)
    stopped = await export(way, file, "--patience", "0")
    left = files(tmp_path)
    other = await export(way, file, "--rating-max", "1", "--limit", "2")
    way.cuts.append(300_000)
    await export(way, file, "--patience", "0")
    ended = await export(way, file)

    assert stopped.code == 75
    assert "Run the same command again to resume" in stopped.err
    assert left == {f"{file.name}.partial", f"{file.name}.partial.json"}
    assert (other.code, ": 2 rows" in other.out) == (0, True)
    assert "resumes behind" in ended.err
    assert "cursor=r0" in way.questions[-1]
    assert file.read_bytes() == expected
    assert files(tmp_path) == {file.name}


@pytest.mark.parametrize("damage", ["changed", "cut", "more", "restart"])
async def test_what_is_there_is_believed_as_far_as_it_was_written(
    damage: str, way: Cutting, tmp_path: Path
) -> None:
    """Rows that changed or are missing begin it anew, as --restart does; what was not noted is cut off."""
    expected = await whole(way, "ndjson")
    file, partial = tmp_path / "feedback.ndjson", tmp_path / "feedback.ndjson.partial"
    way.cuts.append(300_000)
    await export(way, file, "--patience", "0")
    kept = partial.read_bytes()
    change = {
        "changed": b"x" + kept[1:],
        "cut": kept[:-1],
        "more": kept + b'{"request_id":"',
        "restart": kept,
    }
    partial.write_bytes(change[damage])
    ended = await export(way, file, *(["--restart"] if damage == "restart" else []))

    assert (ended.code, file.read_bytes()) == (0, expected)
    assert ("resumes behind" in ended.err) == (damage == "more")


async def test_a_killed_export_continues(way: Cutting, tmp_path: Path) -> None:
    """SIGKILL loses at most what was not noted; SIGINT ends with 130, and says that nothing is lost."""
    expected = await whole(way, "csv")
    file = tmp_path / "feedback.csv"
    way.stalls = True
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        way.cuts.append(300_000)
        way.stalled.clear()
        noted = rows_noted(file)
        with started("export", file, environ={"AFTERWORD_QUERY_URL": way.url}) as process:
            await way.stalled.wait()
            await eventually(partial(is_further, file, noted), within=60)
            process.send_signal(number)
            _, said = await asyncio.to_thread(process.communicate)
            assert process.returncode == code, said
    assert b"Run the same command again to resume." in said
    noted = rows_noted(file)
    ended = await export(way, file)

    assert f"resumes behind {noted:,} rows" in ended.err, said
    assert (ended.code, file.read_bytes()) == (0, expected)


async def test_rows_go_to_standard_output_each_once(way: Cutting) -> None:
    """Through cuts, too; what else there is to say goes to the error output."""
    expected = await whole(way, "ndjson")
    way.cuts.append(200_000)
    with started("export", environ={"AFTERWORD_QUERY_URL": way.url}) as process:
        out, err = await asyncio.to_thread(process.communicate)

    assert (process.returncode, out) == (0, expected), err
    assert f"standard output: {MANY + 17:,} rows".encode() in err


async def test_filters_and_a_limit_are_the_services_own(way: Cutting, tmp_path: Path) -> None:
    """Repeated, negated and compared; a limit holds over a cut."""
    table, lines = tmp_path / "some.parquet", tmp_path / "some.jsonl"
    by_key = ("--where", "data.rating=gt:3", "--where", "data.text=exists:true", "--no-comment")
    ended = await export(way, table, *by_key, "--rating-max", "4", "--from", "2020-01-01", "--json")
    way.cuts.append(100_000)
    limited = await export(way, lines, "--limit", "900")

    rows = read_parquet(table.read_bytes())
    assert {row["rating"] for row in rows} == {4}
    assert {"file": str(table), "format": "parquet", "rows": len(rows)}.items() <= json.loads(
        ended.out
    ).items()
    assert parquet_ending(table.read_bytes())["rows"] == len(rows) == MANY // 5
    assert limited.code == 0
    ids = [row["request_id"] for row in read_ndjson(lines.read_bytes())]
    assert ids == sorted(ids)
    assert len(ids) == len(set(ids)) == 900


async def test_no_rows_are_a_file_too(way: Cutting, tmp_path: Path) -> None:
    """With a header, where the format has one."""
    for format_ in FORMATS:
        ended = await export(way, tmp_path / f"none.{format_}", "--model", "nobody's")
        assert (ended.code, ": 0 rows" in ended.out) == (0, True)

    assert (tmp_path / "none.ndjson").read_bytes() == b""
    assert (tmp_path / "none.csv").read_bytes().startswith(b"request_id,")
    assert read_parquet((tmp_path / "none.parquet").read_bytes()) == []


async def test_a_key_is_asked_for_and_taken(clickhouse_settings: ClickHouseSettings, tmp_path: Path) -> None:
    """Without one the call is wrong, and leaves nothing; with one it sees the rows of its tenant alone."""
    await create_tables(clickhouse_settings)
    await insert(clickhouse_settings, "feedback_state", hostile_rows())
    key = reading_key(tmp_path, tenant="others")
    file = tmp_path / "feedback.ndjson"
    async with serving(query_over(clickhouse_settings, tmp_path)) as url:
        environ = {"AFTERWORD_QUERY_URL": url}
        refused = await asyncio.to_thread(afterword, "export", file, environ=environ)
        taken = await asyncio.to_thread(afterword, "export", file, environ=environ | {"AFTERWORD_KEY": key})

    assert refused.code == 2
    assert "the server refuses the key (401" in refused.err
    assert (taken.code, file.read_bytes()) == (0, b"")
    assert files(tmp_path) == {"keys.toml", file.name}
