"""What a request asks for, from its parts."""

from collections.abc import Mapping
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chdb_server.core.access import Account
from chdb_server.core.blocks import BlockEncoder
from chdb_server.core.errors import QueryRefusedError
from chdb_server.core.request import QueryRequest, decode_body, read_head, read_request

ACCOUNTS = {
    "default": Account("default", "", may_write=True),
    "analyst": Account("analyst", "a", may_write=False),
}
READER = {"X-ClickHouse-User": "analyst", "X-ClickHouse-Key": "a"}


def ask(
    address: str = "", body: bytes = b"", *, method: str = "POST", headers: Mapping[str, str] | None = None
) -> QueryRequest:
    """Read a request of these parts."""
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    head = read_head(method, [(b"host", b"localhost"), *pairs], address.encode(), ACCOUNTS)
    return read_request(head, decode_body(head, body, 2**20), "made-up")


def test_address_and_body_are_joined_by_a_newline() -> None:
    """As a server does it."""
    assert ask("query=SELECT", b"1").statement.sql == b"SELECT\n1"


@given(st.binary(min_size=1).filter(lambda text: b"'" not in text and b"\\" not in text))
def test_percent_escapes_decode_to_any_bytes(text: bytes) -> None:
    """Also for bytes that are not UTF-8."""
    asked = ask("query=" + quote_from_bytes(b"SELECT '" + text + b"'"))

    assert b"SELECT '" + text + b"'\n" == asked.statement.sql


def test_unknown_parameters_are_settings() -> None:
    """The engine judges them; what steers the transport never reaches it."""
    asked = ask("query=SELECT+1&max_threads=1&param_x=2&wait_end_of_query=1&user=default")

    assert asked.settings == {"max_threads": "1"}
    assert asked.binds == {"x": "2"}
    assert asked.whole


@pytest.mark.parametrize("name", ["max_threads = 1, readonly", "a-b", "1a", "", "é", "a'"])
def test_names_of_settings_cannot_smuggle_sql(name: str) -> None:
    """They become a SET statement."""
    with pytest.raises(QueryRefusedError, match="UNKNOWN_SETTING"):
        ask(f"query=SELECT+1&{quote(name)}=0")


@pytest.mark.parametrize(
    ("method", "address", "headers", "level"),
    [
        ("POST", "", {}, 0),
        ("GET", "", {}, 2),
        ("PUT", "", {}, 2),
        ("POST", "&readonly=1", {}, 1),
        ("POST", "&readonly=2", {}, 2),
        ("GET", "&readonly=1", {}, 1),
        ("GET", "&readonly=0", {}, 2),
        ("POST", "", READER, 1),
        ("POST", "&readonly=2", READER, 1),
        ("POST", "&readonly=0", READER, 1),
    ],
)
def test_nothing_lifts_what_method_and_account_forbid(
    method: str, address: str, headers: dict[str, str], level: int
) -> None:
    """readonly=0 is no way around either."""
    assert level == ask("query=SELECT+1" + address, method=method, headers=headers).readonly


@pytest.mark.parametrize(
    "sql", ["KILL QUERY WHERE 1", "SYSTEM STOP MERGES", "DROP TABLE t", "BACKUP TABLE t"]
)
def test_what_the_engine_lets_a_reader_do_is_refused_here(sql: str) -> None:
    """KILL and SYSTEM pass the engine's own readonly mode."""
    ask(body=sql.encode())
    for address, headers in (("readonly=1", {}), ("readonly=2", {}), ("", READER)):
        with pytest.raises(QueryRefusedError, match="READONLY"):
            ask(address, sql.encode(), headers=headers)


def test_a_reader_cannot_read_the_machines_files() -> None:
    """The function `file` passes the engine's own readonly mode; the operator may use it."""
    sql = b"SELECT file('/etc/passwd')"
    ask(body=sql)
    with pytest.raises(QueryRefusedError, match="READONLY"):
        ask(body=sql, headers=READER)


@pytest.mark.parametrize("name", ["a\r\nX: y", "é", "\x00", "x" * 257])
def test_a_query_id_cannot_begin_another_header(name: str) -> None:
    """It goes back in one."""
    with pytest.raises(QueryRefusedError, match="query_id"):
        ask(f"query=SELECT+1&query_id={quote(name)}")


@pytest.mark.parametrize(
    ("address", "headers", "query_id"),
    [
        ("", {}, "made-up"),
        ("&query_id=", {}, "made-up"),
        ("&query_id=q1", {}, "q1"),
        ("", {"X-ClickHouse-Query-Id": "q2"}, "q2"),
    ],
)
def test_a_query_id_is_the_clients_or_made_up(address: str, headers: dict[str, str], query_id: str) -> None:
    """JDBC sends it as a header."""
    assert query_id == ask("query=SELECT+1" + address, headers=headers).query_id


def test_a_format_is_the_statements_the_headers_or_the_addresss() -> None:
    """In this order."""
    header = {"X-ClickHouse-Format": "CSV"}

    assert ask("query=SELECT+1").format == "TabSeparated"
    assert ask("query=SELECT+1&default_format=JSON").format == "JSON"
    assert ask("query=SELECT+1&default_format=JSON", headers=header).format == "CSV"
    assert ask("query=SELECT+1+FORMAT+XML&default_format=JSON", headers=header).format == "XML"
    with pytest.raises(QueryRefusedError, match="UNKNOWN_FORMAT"):
        ask("query=SELECT+1&default_format=" + quote("a\r\nb"))


def test_answers_are_compressed_only_if_asked_twice() -> None:
    """Accept-Encoding alone is what every client sends."""
    headers = {"Accept-Encoding": "gzip"}

    assert ask("query=SELECT+1", headers=headers).encoding is None
    assert ask("query=SELECT+1&enable_http_compression=1", headers=headers).encoding == "gzip"
    blocks = ask("query=SELECT+1&enable_http_compression=1&compress=1", headers=headers)
    assert (blocks.in_blocks, blocks.encoding) == (True, None)


def test_bodies_come_in_encodings_in_blocks_or_in_both() -> None:
    """decompress=1 is about ClickHouse's own blocks."""
    assert ask("decompress=1", BlockEncoder().compress(b"SELECT 1")).statement.sql == b"SELECT 1"


def test_a_session_belongs_to_its_user() -> None:
    """And a request that may only read never joins one."""
    session = ask("query=SELECT+1&session_id=s&session_timeout=5&session_check=1&close_session=1").session

    assert session is not None
    assert session.key == ("default", "s")
    assert (session.timeout_seconds, session.must_exist, session.close) == (5, True, True)
    assert ask("query=SELECT+1&session_id=s", headers=READER).session is None
    assert ask("query=SELECT+1&session_id=s", method="GET").session is None
    with pytest.raises(QueryRefusedError, match="session_timeout must be a number from 1 to 3600"):
        ask("query=SELECT+1&session_id=s&session_timeout=4000")


@pytest.mark.parametrize("body", [b"", b" \n", b"-- nothing"])
def test_an_empty_query_is_a_syntax_error(body: bytes) -> None:
    """And not an empty answer."""
    with pytest.raises(QueryRefusedError, match=r"Code: 62.*Empty query"):
        ask(body=body)
