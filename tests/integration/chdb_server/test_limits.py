"""What the warehouse refuses: too much, too long, and clients without access."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from chdb_server.core.errors import ClickHouseCode
from tests.integration.chdb_server.conftest import MAX_BODY_BYTES, WAITING_BODIES
from tests.support.clickhouse.raw_http import Face, code_of

READER = {"X-ClickHouse-User": "analyst", "X-ClickHouse-Key": "secret"}


@pytest.fixture
def server(ours: Face) -> Face:
    """Test the warehouse alone."""
    return ours


async def test_bodies_are_limited_however_they_come(ours: Face, table: str) -> None:
    """With a length, in chunks, compressed; the client reads why, though it may still be sending."""
    large = bytes(MAX_BODY_BYTES + 1)
    # More than the buffers of a connection hold: the client must come to read the answer.
    huge = bytes(16 * MAX_BODY_BYTES)

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(large), 2**16):
            yield large[at : at + 2**16]

    for body, headers in (
        (large, {}),
        (huge, {}),
        (chunks(), {}),
        (gzip.compress(large), {"Content-Encoding": "gzip"}),
    ):
        answer = await ours.ask(f"INSERT INTO {table} FORMAT TSV", body, headers=headers)
        assert (answer.status_code, code_of(answer)) == (413, 229)
    assert await ours.value(f"SELECT count() FROM {table}") == "0"


async def test_a_body_of_exactly_the_limit_is_taken(ours: Face, table: str) -> None:
    """The limit says what it means."""
    body = b"1\t" + b"x" * (MAX_BODY_BYTES - 3) + b"\n"
    answer = await ours.ask(f"INSERT INTO {table} FORMAT TSV", body)
    assert answer.status_code == 200, answer.text
    assert str(MAX_BODY_BYTES - 3) == await ours.value(f"SELECT length(text) FROM {table}")


async def test_bodies_that_wait_together_are_limited(ours: Face, table: str) -> None:
    """One past the room for bodies is refused, to be tried again; the others are not disturbed."""
    held = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"1\t" + b"x" * (MAX_BODY_BYTES - 10)
        await held.wait()
        yield b"\n"

    async def probe() -> httpx.Response:
        return await ours.ask(f"INSERT INTO {table} FORMAT TSV", bytes(2**14))

    async with asyncio.TaskGroup() as group:
        holding = [
            group.create_task(ours.ask(f"INSERT INTO {table} FORMAT TSV", slow()))
            for _ in range(WAITING_BODIES)
        ]
        probes = [await probe()]
        # Two hold all the room, unless a probe took the last of it from one of them at just that moment.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                while code_of(probes[-1]) != 241:
                    probes.append(await probe())
        held.set()

    held_back = [task.result() for task in holding if not task.result().is_success]
    refused = [answer for answer in (probes[-1], *held_back) if code_of(answer) == 241]
    assert refused
    assert "Request bodies already take" in refused[0].text
    assert {code_of(answer) for answer in held_back} <= {241}
    assert await ours.value(f"SELECT count() FROM {table}") == str(len(holding) - len(held_back))
    assert code_of(await probe()) == 27


async def test_queries_are_limited_in_time_and_memory(ours: Face) -> None:
    """By the engine's own settings."""
    answer = await ours.ask("SELECT sleep(3)", max_execution_time=1)
    assert (answer.status_code, code_of(answer)) == (408, 159)
    answer = await ours.ask("SELECT groupArray(number) FROM numbers(10000000)", max_memory_usage=10**7)
    assert (answer.status_code, code_of(answer)) == (500, 241)


async def test_the_memory_of_all_queries_is_limited(ours: Face) -> None:
    """By the setting's default: an engine that takes all memory takes the stack with it."""
    limit = "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'"
    assert str(4 * 2**30) == await ours.value(limit)


async def test_a_reader_reads_and_does_nothing_else(ours: Face, table: str) -> None:
    """Data, temporary tables, other queries, merges and files are out of reach."""
    assert (await ours.ask(f"SELECT count() FROM {table}", headers=READER)).text == "0\n"
    assert (await ours.ask("SELECT 1", headers=READER, max_threads=1)).text == "1\n"
    for statement in (
        f"INSERT INTO {table} FORMAT CSV 1,1",
        f"INSERT INTO {table} VALUES (1, '')",
        f"TRUNCATE TABLE {table}",
        f"ALTER TABLE {table} DELETE WHERE 1",
        "CREATE TEMPORARY TABLE x (a UInt8)",
        "KILL QUERY WHERE 1",
        "SYSTEM STOP MERGES",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM `/etc/hostname`",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT file('/etc/hostname')",
        "SET readonly = 0",
    ):
        answer = await ours.ask(body=statement, headers=READER)
        assert (answer.status_code, code_of(answer)) == (500, 164), statement


SPELLINGS = (
    r"SELECT `\x66ile`({0})",
    r"SELECT `fi\Nle`({0})",
    r'SELECT "f\x69le" /* */ ({0})',
    "SELECT \u201cfile\u201d({0})",
    "SELECT file -- (\n({0})",
    "SELECT p FROM (SELECT file(*) AS p FROM (SELECT {0}))",
    "WITH (x -> file(x)) AS f SELECT f({0})",
    "SELECT * FROM view(SELECT file({0}))",
    "EXPLAIN SELECT file({0})",
    "SELECT * APPLY file FROM (SELECT {0})",
    "SELECT * APPLY(file) FROM (SELECT {0})",
    r"SELECT * APPLY `\x66ile` FROM (SELECT {0})",
    "SELECT arrayMap(file, [{0}])",
    r"SELECT arrayMap((`fi\Nle`), [{0}])",
    "SELECT arrayMap(file AS f, [{0}])",
    "SELECT arrayMap({{name:Identifier}}, [{0}])",
    "SELECT * FROM eval('SELECT fi' || 'le({0})')",
    r"SELECT * FROM `e\Nval`('SELECT 1')",
    "SELECT * FROM {0}",
    "SELECT 1 AS a FORMAT Template SETTINGS format_template_row = {0}",
    "DESCRIBE file({0})",
    "DESCRIBE TABLE `url`('file://' || {0})",
    "DESC url('file://' || {0})",
    "SELECT * FROM (DESCRIBE url('file://' || {0}))",
)


@pytest.mark.parametrize("statement", SPELLINGS)
async def test_a_reader_cannot_read_files_in_any_spelling(ours: Face, tmp_path: Path, statement: str) -> None:
    """Escapes, comments, names handed to other functions, parameters, and what describes a file."""
    path = tmp_path / "private.csv"
    path.write_text("secret,2\n1,2\n")
    answer = await ours.ask(
        body=statement.format(f"'{path}'"),
        headers=READER,
        param_name="file",
        allow_experimental_eval_table_function=1,
    )
    assert answer.status_code >= 400
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "settings",
    [
        {"dialect": "prql", "allow_experimental_prql_dialect": 1},
        {"default_format": "Template", "format_template_row": ""},
        {"default_format": "Template", "format_template_resultset": ""},
        {"default_format": "CapnProto", "format_schema": ":A"},
        {"additional_result_filter": "CAST(file('{0}') AS UInt8) = 1"},
        {"additional_table_filters": "{{'system.one': 'CAST(file(\\'{0}\\') AS UInt8) = 1'}}"},
    ],
    ids=str,
)
async def test_nor_by_settings(ours: Face, tmp_path: Path, settings: dict[str, Any]) -> None:
    """Another language of queries, and files that a format would take its words from."""
    path = tmp_path / "private.txt"
    path.write_text("secret ${a:CSV}\n${data}\n")
    body = "SELECT 1 AS a FROM system.one"
    if "dialect" in settings:
        body = f"from s\"SELECT file('{path}') AS a\""
    asked = {name: str(value).format(path) for name, value in settings.items()}
    asked = {name: f"{path}{value}" if name.startswith("format_") else value for name, value in asked.items()}
    asked.setdefault("default_format", "CSV")
    answer = await ours.ask(body=body, headers=READER, **asked)
    assert (answer.status_code, code_of(answer)) == (500, 164)


async def test_a_reader_may_have_columns_with_such_names(ours: Face) -> None:
    """Only functions are kept away."""
    statement = (
        "SELECT file, t.file, (SELECT max(eval) FROM (SELECT 3 AS eval)) FROM (SELECT 'a' AS file) AS t"
    )
    answer = await ours.ask(body=statement.replace("max(eval)", "max(0 + eval)"), headers=READER)
    assert answer.text == "a\ta\t3\n"


async def test_a_head_without_end_is_cut_off(ours: Face) -> None:
    """With the bounds that ingest and query have, of which that of bytes takes the least time to reach."""
    url = urlsplit(ours.settings.clickhouse_url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(b"GET /?query=SELECT+1 HTTP/1.1\r\nx-endless: ")
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(60):
            while not writer.is_closing():
                writer.write(b"x" * 10_000)
                await writer.drain()
                await asyncio.sleep(0)
    writer.close()


async def test_a_wrong_password_is_refused(ours: Face) -> None:
    """Before anything else of the request is looked at."""
    answer = await ours.ask("nonsense", headers={**READER, "X-ClickHouse-Key": "guess"})
    assert (answer.status_code, code_of(answer)) == (403, 516)
    answer = await ours.raw.get(
        "/", params={"query": "SELECT currentUser()"}, auth=httpx.BasicAuth("analyst", "secret")
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_pages_of_other_sites_are_refused(ours: Face, table: str, headers: dict[str, str]) -> None:
    """A browser on this machine must not be their way in, and nothing of the request is done."""
    answer = await ours.ask(body=f"INSERT INTO {table} VALUES (1, '')", headers=headers)
    assert (answer.status_code, code_of(answer)) == (403, 497)
    assert await ours.value(f"SELECT count() FROM {table}") == "0"


async def test_pages_of_this_machine_are_let_in(ours: Face) -> None:
    """A dashboard on another port of it, say."""
    answer = await ours.ask("SELECT 1", headers={"Origin": "http://localhost:8081"})
    assert answer.status_code == 200


async def test_the_codes_raised_here_are_the_engines(ours: Face) -> None:
    """Name by name."""
    numbers = ", ".join(str(code.value) for code in ClickHouseCode)
    names = await ours.value(f"SELECT toJSONString(arrayMap(n -> errorCodeToName(n), [{numbers}]))")
    assert [code.name for code in ClickHouseCode] == json.loads(names)
