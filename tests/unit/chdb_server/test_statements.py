"""What transport finds in SQL: where data begins, which format is named, and never inside quotes."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chdb_server.core.errors import QueryRefusedError
from chdb_server.core.statements import SqlStatement, TokenKind, parse, read, tokens
from tests.support.clickhouse import sql_samples

FORMATS = st.sampled_from(["CSV", "JSONEachRow", "TSVWithNames", "Native"])


def data_of(statement: SqlStatement) -> bytes | None:
    """Return an INSERT's data in one piece."""
    return None if statement.data is None else b"".join(statement.data)


@settings(max_examples=50)
@given(sql_samples.selects(), sql_samples.gaps, FORMATS, sql_samples.gaps, st.sampled_from(["", ";"]))
def test_a_format_is_found_behind_any_strings_names_and_comments(
    select: str, gap: str, name: str, after: str, end: str
) -> None:
    """Only the last clause counts; without it the rest is left as it was."""
    statement = parse(f"{select}FORMAT{gap}{name}{after}{end}".encode())

    assert name == statement.format
    assert (select + after).encode() == statement.bare
    assert statement.verb == "SELECT"


@settings(max_examples=50)
@given(sql_samples.selects())
def test_no_format_is_found_where_none_is_named(select: str) -> None:
    """Strings, names and comments never name one."""
    statement = parse(select.encode())

    assert statement.format is None
    assert statement.data is None
    assert not statement.opens_files


@given(sql_samples.gaps, sql_samples.names, sql_samples.strings, FORMATS, st.binary())
def test_an_inserts_data_is_found_to_the_byte(
    gap: str, table: str, value: str, name: str, data: bytes
) -> None:
    """Data begins after the newline that follows the format, whatever the data and the statement hold."""
    head = f"INSERT{gap}INTO{gap}{table} (a, `FORMAT CSV`) SETTINGS x = {value}{gap}"
    statement = parse(f"{head}FORMAT {name}\n".encode() + data)

    assert head.encode() == statement.sql + statement.tail
    assert statement.tail.startswith(b"SETTINGS")
    assert name == statement.format
    assert data == data_of(statement)


@given(st.binary(), st.booleans())
def test_data_in_the_body_of_a_statement_in_the_address_is_not_touched(data: bytes, newline: bool) -> None:  # noqa: FBT001
    """Native data may begin with any byte, a newline or a space included."""
    query = b"INSERT INTO t FORMAT Native" + (b"\n" if newline else b"")
    statement = read(query, data)
    # A newline is put between address and body; it belongs to neither unless there was one already.
    assert (b"\n" if newline else b"") + data == data_of(statement)


@given(st.binary())
def test_any_bytes_are_read_without_a_failure_other_than_refusal(text: bytes) -> None:
    """Nonsense is the engine's to judge, and tokens never overlap."""
    ends = [0]
    for token in tokens(text):
        assert ends[-1] <= token.start < token.end
        ends.append(token.end)
    with contextlib.suppress(QueryRefusedError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "verb", "name"),
    [
        (b"SELECT 1", "SELECT", None),
        (b"  -- a comment\nselect 1 format CSV", "SELECT", "CSV"),
        (b"(SELECT 1) UNION ALL (SELECT 2)", "SELECT", None),
        (b"SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "SELECT", "CSV"),
        (b"SELECT 1 SETTINGS max_threads = 1 FORMAT CSV;", "SELECT", "CSV"),
        (b"SELECT 1 AS format", "SELECT", None),
        (b"SELECT format FROM t", "SELECT", None),
        (b"SELECT a FROM format SETTINGS max_threads = 1", "SELECT", None),
        (b"SELECT (SELECT 1 FORMAT CSV)", "SELECT", None),
        (b"WITH 1 AS a SELECT a", "WITH", None),
        (b"WITH 1 AS a INSERT INTO t SELECT a", "INSERT", None),
        (b"INSERT INTO t SELECT input FROM u", "INSERT", None),
        (b"/* a /* nested */ comment */ SELECT 1 FORMAT CSV", "SELECT", "CSV"),
        (b"INSERT INTO t VALUES ('FORMAT CSV')", "INSERT", None),
        (b"INSERT INTO format FORMAT CSV\n1\n", "INSERT", "CSV"),
        (b"INSERT INTO settings FORMAT CSV\n1\n", "INSERT", "CSV"),
        (b"INSERT INTO select.values FORMAT CSV\n1\n", "INSERT", "CSV"),
        (b"INSERT INTO format VALUES (1)", "INSERT", None),
        (b"INSERT INTO db.format (a) VALUES (1)", "INSERT", None),
        (b"INSERT INTO TABLE format FORMAT TSV\n1\n", "INSERT", "TSV"),
        (b"", "", None),
        (b"-- nothing but a comment", "", None),
    ],
)
def test_statements_and_the_formats_they_name(text: bytes, verb: str, name: str | None) -> None:
    """The cases one meets."""
    statement = parse(text)

    assert (verb, name) == (statement.verb, statement.format)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"INSERT INTO t FORMAT CSV 1,2\n", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV \r\n1,2\n", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV\n\n1,2\n", b"\n1,2\n"),
        (b"INSERT INTO t FORMAT CSV", b""),
    ],
)
def test_data_begins_after_blanks_and_one_newline(text: bytes, data: bytes) -> None:
    """As a server has it."""
    assert data == data_of(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1 INTO OUTFILE 'x'",
        b"select 1 into/* */outfile 'x' format CSV",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
    ],
)
def test_statements_that_open_files_by_themselves_are_refused(text: bytes) -> None:
    """A client's INFILE and OUTFILE would be files of the server here."""
    with pytest.raises(QueryRefusedError, match=r"Code: 1[.].*UNSUPPORTED_METHOD"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        (b"SELECT file('/etc/passwd')", True),
        (b"SELECT x FROM (SELECT `file` ('/etc/passwd') AS x)", True),
        (b"SELECT \"file\"/* */('/etc/passwd')", True),
        (b"SELECT FILE('/etc/passwd')", True),
        (rb"SELECT `\x66ile`('/etc/passwd')", True),
        (rb'SELECT "fi\Nle"(1)', True),
        (b"SELECT * APPLY file FROM t", True),
        (b"SELECT arrayMap(file, [1])", True),
        (b"SELECT * FROM eval('SELECT 1')", True),
        (b"DESCRIBE TABLE url('file:///x')", True),
        (b"SELECT * FROM (DESCRIBE url('file:///x'))", True),
        (b"DESCRIBE TABLE (SELECT 1)", False),
        (b"DESCRIBE TABLE a.b", False),
        (b"SELECT a FROM t ORDER BY a DESC LIMIT (1)", False),
        (rb"SELECT `fi\\Nle`(1)", False),
        (b"SELECT file, t.file FROM t", False),
        (b"SELECT file FROM t", False),
        (b"SELECT 'file(1)'", False),
    ],
)
def test_calls_of_the_function_file_are_noticed(text: bytes, opens: bool) -> None:  # noqa: FBT001
    """The engine's own readonly mode lets them through."""
    assert opens == parse(text).opens_files


def test_the_table_function_input_is_refused() -> None:
    """The engine would answer that all is well, and insert nothing."""
    with pytest.raises(QueryRefusedError, match=r"Code: 48.*input"):
        parse(b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n1\n")


def test_an_unclosed_quote_hides_everything_behind_it() -> None:
    """The engine will refuse the statement; nothing of it is taken for data first."""
    assert parse(b"INSERT INTO t SETTINGS x = 'open FORMAT CSV\n1\n").data is None
    assert parse(b"SELECT 1 /* open FORMAT CSV").format is None


def test_tokens_are_words_quoted_names_and_marks() -> None:
    """Words come in upper case, names as they are written."""
    found = [(token.kind, token.text) for token in tokens(b"select `a``b`, 'no' -- no\n;")]

    assert found == [
        (TokenKind.WORD, "SELECT"),
        (TokenKind.QUOTED_NAME, "`a``b`"),
        (TokenKind.MARK, ","),
        (TokenKind.MARK, ";"),
    ]
