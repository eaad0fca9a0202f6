"""ClickHouse's HTTP interface in raw requests, as curl and SQL tools send them."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from urllib3.filepost import encode_multipart_formdata

from chdb_server.core import blocks
from tests.support.clickhouse import sql_samples
from tests.support.clickhouse.content_encodings import PACK, UNPACK
from tests.support.clickhouse.raw_http import Face, code_of

# A block a row, so that a streamed answer has several.
SEVERAL_BLOCKS: dict[str, Any] = {"max_block_size": 1, "max_threads": 1}
ROWS = 'SELECT number AS `a"\n,b`, toString(number) AS text FROM numbers(5) ORDER BY number'


async def test_health_needs_no_query_and_no_password(server: Face) -> None:
    """Load balancers and compose files ask for /ping."""
    for path in ("/ping", "/", "/replicas_status"):
        answer = await server.raw.get(path)
        assert (answer.status_code, answer.text) == (200, "Ok.\n")
    assert (await server.raw.get("/ping", headers={"X-ClickHouse-Key": "wrong"})).status_code == 200
    assert (await server.raw.get("/nowhere")).status_code == 404


@pytest.mark.parametrize(
    ("query", "body", "method"),
    [("SELECT 1", "", "POST"), (None, "SELECT 1", "POST"), ("SELECT", "1", "POST"), ("SELECT 1", "", "GET")],
)
async def test_a_query_comes_in_the_address_the_body_or_both(
    server: Face, query: str | None, body: str, method: str
) -> None:
    """As on a server."""
    answer = await server.ask(query, body, method=method)

    assert (answer.status_code, answer.text) == (200, "1\n")
    assert answer.headers["X-ClickHouse-Format"] == "TabSeparated"


async def test_a_format_in_the_query_wins_and_is_reported(server: Face) -> None:
    """Clients read it from the header."""
    answer = await server.ask("SELECT 1 AS x FORMAT CSV", default_format="JSON")
    assert (answer.text, answer.headers["X-ClickHouse-Format"]) == ("1\n", "CSV")

    answer = await server.ask("SELECT 1 AS x", default_format="JSONEachRow")
    assert answer.json() == {"x": 1}


async def test_only_statements_with_rows_name_a_format(server: Face, table: str) -> None:
    """clickhouse-connect tells commands from queries by it."""
    answer = await server.ask(body=f"OPTIMIZE TABLE {table} FINAL")
    assert answer.status_code == 200
    assert "X-ClickHouse-Format" not in answer.headers

    answer = await server.ask(body=f"SHOW TABLES FROM {table.split('.', maxsplit=1)[0]}")
    assert (answer.text, answer.headers["X-ClickHouse-Format"]) == ("t\n", "TabSeparated")


@settings(max_examples=40)
@given(select=sql_samples.selects())
async def test_quotes_and_comments_are_read_as_the_engine_reads_them(server: Face, select: str) -> None:
    """What transport takes for the format is the format in which the engine answers."""
    answer = await server.ask(body=f"{select}FORMAT JSONCompactEachRow".encode())
    if answer.status_code != 200:
        # Two columns of one name with different values.
        assert "Multiple expressions" in answer.text, answer.text
        return
    assert answer.headers["X-ClickHouse-Format"] == "JSONCompactEachRow"
    assert all(isinstance(value, str) for value in json.loads(answer.text))


@pytest.mark.parametrize("encoding", ["", *PACK])
async def test_bodies_come_in_every_encoding(server: Face, table: str, encoding: str) -> None:
    """The statement in the address, the data compressed; or both in the body."""
    data = b"".join(b"%d,text\n" % number for number in range(1000))
    statement = f"INSERT INTO {table} FORMAT CSV"
    pack = PACK.get(encoding, bytes)
    headers = {"Content-Encoding": encoding} if encoding else {}
    for query, body in ((statement, data), (None, statement.encode() + b"\n" + data)):
        answer = await server.ask(query, pack(body), headers=headers)
        assert answer.status_code == 200, answer.text
        assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "1000"
    assert await server.value(f"SELECT count() FROM {table}") == "2000"


async def test_a_body_in_many_chunks_is_one_insert(server: Face, table: str) -> None:
    """Without a Content-Length."""

    async def lines() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b'{"id": %d}\n' % number

    answer = await server.ask(f"INSERT INTO {table} FORMAT JSONEachRow", lines())
    assert answer.status_code == 200, answer.text
    assert await server.value(f"SELECT count() FROM {table}") == "100"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("INSERT INTO {table} VALUES", b"(1, 'a'), (2, 'b')"),
        (None, b"INSERT INTO {table} (id, text) VALUES (1, 'FORMAT CSV'), (2, 'b')"),
        ("INSERT INTO {table} SELECT number, 'x' FROM numbers(2)", b""),
        ("INSERT INTO {table} SETTINGS async_insert = 0 FORMAT TSV", b"1\ta\n2\tb\n"),
        ("INSERT INTO {table} (id) FORMAT RowBinary", bytes(16)),
    ],
)
async def test_every_way_to_insert(server: Face, table: str, query: str | None, body: bytes) -> None:
    """Two rows each."""
    answer = await server.ask(query and query.format(table=table), body.replace(b"{table}", table.encode()))
    assert answer.status_code == 200, answer.text
    assert await server.value(f"SELECT count() FROM {table}") == "2"


async def test_an_insert_without_data_inserts_nothing(server: Face, table: str) -> None:
    """And is no failure."""
    answer = await server.ask(f"INSERT INTO {table} FORMAT JSONEachRow")
    assert (
        answer.status_code,
        json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"],
    ) == (200, "0")


async def test_values_larger_than_a_query_may_be_are_data(server: Face, table: str) -> None:
    """max_query_size is about the statement, not about what follows VALUES."""
    values = b",".join(b"(%d, '%s')" % (number, b"x" * 100) for number in range(5000))
    answer = await server.ask(f"INSERT INTO {table} VALUES", values)
    assert answer.status_code == 200, answer.text
    assert await server.value(f"SELECT count() FROM {table}") == "5000"


async def test_parameters_are_bound_on_the_server(server: Face) -> None:
    """In the address, and in a form when they are too large for one."""
    answer = await server.ask("SELECT {a:UInt8} + 1, {b:String}", param_a=1, param_b="it's\\n")
    assert answer.text == "2\tit\\'s\\n\n"

    large = "é" * 100_000
    fields = {"query": "SELECT length({x:String})", "param_x": large}
    body, content_type = encode_multipart_formdata(fields)
    answer = await server.ask(body=body, headers={"Content-Type": content_type})
    assert answer.text == "200000\n"


@pytest.mark.parametrize(
    "name",
    [
        *("TabSeparated", "TSVWithNames", "TSVWithNamesAndTypes", "TSKV", "MsgPack"),
        *("CSV", "CSVWithNames", "CSVWithNamesAndTypes", "JSONEachRow", "JSONStringsEachRow"),
        *("JSONCompactEachRowWithNames", "JSONCompactEachRowWithNamesAndTypes"),
        *("RowBinary", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes"),
    ],
)
async def test_a_streamed_answer_is_the_whole_answer(server: Face, name: str) -> None:
    """Block by block, with one header; also when there are no rows."""
    for query in (ROWS, f"SELECT * FROM ({ROWS}) WHERE text = 'nowhere'"):
        streamed = await server.ask(query, default_format=name, **SEVERAL_BLOCKS)
        whole = await server.ask(query, default_format=name, wait_end_of_query=1)
        assert streamed.status_code == 200, streamed.text
        assert streamed.content == whole.content
        assert name == streamed.headers["X-ClickHouse-Format"]


async def test_one_document_formats_are_one_document(server: Face) -> None:
    """However many blocks there are."""
    answer = await server.ask(ROWS, default_format="JSON", **SEVERAL_BLOCKS)

    assert [row["text"] for row in answer.json()["data"]] == ["0", "1", "2", "3", "4"]
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("wait", [0, 1])
async def test_no_rows_in_native_still_name_the_columns(server: Face, wait: int) -> None:
    """clickhouse-connect reads them from an empty block; also with parameters and settings in the query."""
    query = "SELECT {x:UInt8} AS a, 'b' AS b WHERE a = 7 SETTINGS max_threads = 1 FORMAT Native"
    answer = await server.ask(query, param_x=1, wait_end_of_query=wait)

    assert answer.content == b"\x02\x00\x01a\x05UInt8\x01b\x06String"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("SELEC 1", 400, 62),
        ("nonsense", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT * FROM nowhere", 404, 60),
        ("SELECT nothing FROM system.one", 404, 47),
        ("SELECT * FROM nowhere.nothing", 404, 81),
        ("SELECT 1 SETTINGS no_such_setting = 1", 404, 115),
        ("SELECT throwIf(number = 3) FROM numbers(5)", 500, 395),
        ("SELECT 1 FORMAT NoSuchFormat", 404, 73),
    ],
)
async def test_errors_have_a_code_a_text_and_a_status(
    server: Face, query: str, status: int, code: int
) -> None:
    """The same whether the answer would have been streamed or not."""
    for wait in (0, 1):
        answer = await server.ask(query, wait_end_of_query=wait)
        assert (status, code) == (answer.status_code, code_of(answer))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"id": 1', 33),
        (b'{"id": "x"}', 27),
        (b'{"id": 1, "other": 1}', 117),
        (b'{"id": 1, "text": "\xff', 26),
        (b'{"id": 1, "\xff": 1}', 117),
    ],
)
async def test_bad_data_is_refused_as_a_whole(server: Face, table: str, data: bytes, code: int) -> None:
    """Nothing of the insert stays; the code is there even if the message quotes what is not UTF-8."""
    body = b'{"id": 0}\n' * 10 + data
    strict: dict[str, Any] = {"input_format_skip_unknown_fields": 0}
    answer = await server.ask(f"INSERT INTO {table} FORMAT JSONEachRow", body, **strict)
    assert (400 if code != 33 else 500, code) == (answer.status_code, code_of(answer))
    assert await server.value(f"SELECT count() FROM {table}") == "0"


@pytest.mark.parametrize(
    ("params", "status", "codes"),
    [
        ({"no_such_setting": "1"}, 404, {115}),
        ({"max_threads": "many"}, 400, {6, 27, 72}),
        ({"database": "nowhere"}, 404, {81}),
    ],
)
async def test_nonsense_in_the_address_is_refused(
    server: Face, params: dict[str, Any], status: int, codes: set[int]
) -> None:
    """By the engine, in its words."""
    answer = await server.ask("SELECT 1", **params)
    assert status == answer.status_code
    assert code_of(answer) in codes


async def test_a_database_in_the_address_is_the_current_one(server: Face, database: str) -> None:
    """For this request."""
    answer = await server.ask("SELECT currentDatabase()", database=database)
    assert f"{database}\n" == answer.text


@pytest.mark.parametrize("params", [{"readonly": 1}, {"readonly": 2}])
async def test_read_only_requests_change_nothing(server: Face, table: str, params: dict[str, Any]) -> None:
    """Whatever they try."""
    for query in (f"INSERT INTO {table} VALUES (1, '')", f"DROP TABLE {table}", f"TRUNCATE TABLE {table}"):
        answer = await server.ask(body=query, **params)
        assert code_of(answer) == 164
    answer = await server.ask(body="SELECT 1 SETTINGS readonly = 0", **params)
    assert code_of(answer) == 164
    assert await server.value(f"SELECT count() FROM {table}") == "0"


async def test_get_changes_nothing(server: Face, table: str) -> None:
    """A link or an image in a page must not."""
    answer = await server.ask(f"DROP TABLE {table}", method="GET")
    assert code_of(answer) == 164
    assert await server.value(f"SELECT count() FROM {table}") == "0"


async def test_a_summary_counts_what_was_read_and_written(server: Face, table: str) -> None:
    """Complete for whole answers."""
    await server.value(f"INSERT INTO {table} SELECT number, 'x' FROM numbers(10)")
    answer = await server.ask(f"SELECT * FROM {table} LIMIT 3", wait_end_of_query=1)
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"]) == ("10", "3")


@pytest.mark.parametrize("encoding", UNPACK)
async def test_answers_are_compressed_on_request(server: Face, encoding: str) -> None:
    """In the encoding that was asked for."""
    params = {"query": "SELECT number FROM numbers(300000)", "enable_http_compression": "1"}
    headers = {"Accept-Encoding": encoding}
    async with server.raw.stream("POST", "/", params=params, headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == encoding
        packed = b"".join([part async for part in answer.aiter_raw()])

    assert len(packed) < 2_000_000
    assert UNPACK[encoding](packed).count(b"\n") == 300_000


async def test_answers_and_bodies_come_in_clickhouses_own_blocks(server: Face, table: str) -> None:
    """JDBC tools ask for them by default."""
    body = blocks.BlockEncoder().compress(b"1,a\n2,b\n")
    answer = await server.ask(f"INSERT INTO {table} FORMAT CSV", body, decompress=1)
    assert answer.status_code == 200, answer.text

    answer = await server.ask(f"SELECT * FROM {table} ORDER BY id FORMAT CSV", compress=1)
    assert blocks.decode(answer.content, 1000) == b'1,"a"\n2,"b"\n'


async def test_a_failure_in_the_middle_breaks_the_answer_off_and_reports_why(server: Face) -> None:
    """The status is sent long before; a short answer must not look complete."""
    query = "SELECT throwIf(number = 900000), number FROM numbers(1000000) SETTINGS max_block_size = 10000"
    received = bytearray()
    async with server.raw.stream("POST", "/", content=query) as answer:
        tag = answer.headers["X-ClickHouse-Exception-Tag"]
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await _read_into(received, answer)

    note = rf"\r\n__exception__\r\n{tag}\r\n(Code: 395\..*)\n(\d+) {tag}\r\n__exception__\r\n".encode()
    found = re.search(note, bytes(received), re.DOTALL)
    assert found
    assert len(found[1]) + 1 == int(found[2])


async def _read_into(received: bytearray, answer: httpx.Response) -> None:
    async for part in answer.aiter_raw():
        received += part


async def test_a_session_keeps_tables_settings_and_database(server: Face, database: str) -> None:
    """Until its time is over; settings in an address hold for one request."""
    session: dict[str, Any] = {"session_id": f"keeps-{database}"}
    for statement in ("CREATE TEMPORARY TABLE mine (a UInt8)", "SET max_threads = 3", f"USE {database}"):
        assert (await server.ask(body=statement, **session)).status_code == 200
    state = "SELECT count() FROM mine UNION ALL SELECT getSetting('max_threads')"
    once: dict[str, Any] = {"max_threads": "1", "database": "system"}
    nothing: dict[str, Any] = {}
    for params, threads in ((nothing, "3"), (once, "1"), (nothing, "3")):
        answer = await server.ask(state, **session, **params)
        assert {"0", threads} == set(answer.text.split()), answer.text
    assert f"{database}\n" == (await server.ask("SELECT currentDatabase()", **session)).text


async def test_a_failed_request_leaves_its_session_as_it_was(server: Face, database: str) -> None:
    """And usable."""
    session: dict[str, Any] = {"session_id": f"fails-{database}"}
    await server.ask(body="SET max_threads = 3", **session)
    failing: list[tuple[str, dict[str, Any]]] = [
        ("SELECT 1", {"database": "nowhere"}),
        ("SELECT 1", {"no_such_setting": "1"}),
        ("SELEC 1", {"max_threads": "1"}),
    ]
    for query, params in failing:
        assert (await server.ask(query, **params, **session)).status_code >= 400
    assert (await server.ask("SELECT getSetting('max_threads')", **session)).text == "3\n"


async def test_a_session_that_must_exist_and_one_that_is_closed(server: Face, database: str) -> None:
    """session_check and close_session."""
    session: dict[str, Any] = {"session_id": f"ends-{database}"}
    assert code_of(await server.ask("SELECT 1", session_check=1, **session)) == 372
    assert (await server.ask("SELECT 1", **session)).text == "1\n"
    assert (await server.ask("SELECT 1", session_check=1, close_session=1, **session)).text == "1\n"
    assert code_of(await server.ask("SELECT 1", session_check=1, **session)) == 372
