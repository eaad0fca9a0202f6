"""What an export holds in memory, where it stops, and what it does when ClickHouse fails."""

import tracemalloc
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from services.query.core.problems import ProblemCode, QueryProblem
from services.query.exports.core.assembly import FORMATS, Assembly
from services.query.exports.core.encoder import FileEncoder, FileOptions, choose_encoding
from services.query.exports.core.parquet_file import GroupSizes, ParquetFile
from services.query.exports.core.rows import BrokenAnswerError, ExportSelection, RowParser, statement
from services.query.exports.core.text_files import CsvFile, NdjsonFile
from services.query.exports.streaming import PACES, pieces
from services.query.reads.core.filters import NO_FILTERS, Filters
from services.query.store import Row
from services.runtime.clickhouse.core.statement import Pace, Statement
from tests.support.query.exports import export_row, read_ndjson, tab_separated

_INTERPRETER_BYTES = 1 << 19
"""Python keeps that much of what was freed, as lists of tuples for the next ones."""
WANTED = ExportSelection("acme", NO_FILTERS)
NOTE = (
    b"\r\n__exception__\r\n0123456789abcdef\r\n"
    b"Code: %d. DB::Exception: no\n20 0123456789abcdef\r\n__exception__\r\n"
)


class FakeStore:
    """Answers each question with the next of some answers: blocks, and at last maybe a QueryProblem."""

    def __init__(self, *answers: list[bytes | QueryProblem]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Statement, Pace]] = []
        self.taken = 0
        self.exports = 0
        self.closed = 0

    async def rows(self, statement: Statement) -> list[Row]:
        """Fail: an export asks once."""
        raise AssertionError(statement)

    @contextmanager
    def export(self, _tenant: str) -> Iterator[None]:
        """Count."""
        self.exports += 1
        yield
        self.exports -= 1

    async def blocks(self, statement: Statement, pace: Pace) -> AsyncGenerator[bytes]:
        """Give the next answer."""
        self.asked.append((statement, pace))
        try:
            for block in self.answers.pop(0):
                if isinstance(block, QueryProblem):
                    raise block
                self.taken += 1
                yield block
        finally:
            self.closed += 1


class MemoryLimitError(Exception):
    """What the driver raises."""

    code = 241


def too_much_memory() -> QueryProblem:
    """Return the problem of a question that needs too much memory, before its answer began."""
    problem = QueryProblem(ProblemCode.TOO_EXPENSIVE, "it needs more memory")
    problem.__cause__ = MemoryLimitError()
    return problem


def assembly(format_: str = "ndjson", wanted: ExportSelection = WANTED) -> Assembly:
    """Return a file about to be made."""
    return Assembly(wanted, FORMATS[format_].encoder(FileOptions()))


def block(*ids: str, total: int = 4) -> bytes:
    """Return rows as ClickHouse answers them."""
    return tab_separated([export_row(one) for one in ids], total)


async def ids_of(store: FakeStore) -> list[str]:
    """Return the ids of the rows of a whole export."""
    file = b"".join([piece async for piece in pieces(store, assembly())])
    return [line["request_id"] for line in read_ndjson(file)]


@pytest.mark.parametrize("answers", [
    ([too_much_memory()], [block("a", "b", "c", "d")]),
    ([block("a", "b"), NOTE % 241], [block("c", "d", total=2)]),
    ([block("a", "b") + NOTE % 241], [block("a", "b"), block("c", "d")]),
    ([block("a"), NOTE % 241], [block("b", total=3), NOTE % 241], [block("c", "d", total=2)]),
])  # fmt: skip
async def test_rows_too_large_for_many_at_once_are_read_few_at_once(answers: Any) -> None:
    """Before the first row or behind any: it continues behind the last one, each row once."""
    store = FakeStore(*answers)

    assert await ids_of(store) == ["a", "b", "c", "d"]
    assert [pace for _, pace in store.asked] == list(PACES[: len(answers)])
    assert store.closed == len(answers)


async def test_a_single_row_that_does_not_fit_is_too_expensive() -> None:
    """After the last pace there is nothing left to try."""
    answers: list[list[bytes | QueryProblem]] = [[NOTE % 241] for _ in PACES]
    store = FakeStore(*answers)
    with pytest.raises(QueryProblem) as refused:
        await ids_of(store)

    assert refused.value.code is ProblemCode.TOO_EXPENSIVE


@pytest.mark.parametrize(
    "answer",
    [
        [block("a", "b"), NOTE % 159],
        [block("a", "b"), NOTE],
        [block("a", "b")[:-1]],
        [block("a") + b"Code: 159. DB::Exception: an old server, glued to nothing\n"],
        [block("a"), block("b", total=5)],
        [block("a"), QueryProblem(ProblemCode.STORE_UNAVAILABLE, "gone")],
    ],
)
async def test_an_answer_that_is_cut_or_strange_is_no_file(answer: list[bytes | QueryProblem]) -> None:
    """Whatever ClickHouse leaves in place of rows; a half row, too."""
    store = FakeStore(answer)
    with pytest.raises(QueryProblem) as failed:
        await ids_of(store)

    assert failed.value.code is ProblemCode.STORE_UNAVAILABLE
    assert (store.closed, len(store.asked)) == (1, 1)


async def test_nothing_is_read_before_a_reader_took_what_was_there() -> None:
    """One block goes in for each piece that is taken; leaving closes the question and frees the place."""
    store = FakeStore([block(one) for one in "abcd"])
    export = pieces(store, assembly())

    for count in (1, 2):
        await anext(export)
        assert (store.taken, store.exports, store.closed) == (count, 1, 0)
    await export.aclose()
    assert (store.taken, store.closed) == (2, 1)


@pytest.mark.parametrize(
    "encoder", [CsvFile, NdjsonFile, partial(ParquetFile, sizes=GroupSizes(100, 1 << 20, 400))]
)
def test_what_is_held_does_not_grow_with_the_export(encoder: Callable[[FileOptions], FileEncoder]) -> None:
    """What went in and has not come out is a row group at most, however many rows there are."""
    rows = tab_separated([export_row(f"r{n}", data={"text": f"{n:0400}"}) for n in range(100)], 10**6)

    assert len(rows) * 100 > 10 * _INTERPRETER_BYTES
    assert most_held(encoder, rows, 100) <= most_held(encoder, rows, 10) + _INTERPRETER_BYTES


def most_held(encoder: Callable[[FileOptions], FileEncoder], block: bytes, times: int) -> int:
    """Return the most bytes that are held after any block, beside those of pieces that nobody took."""
    file = Assembly(WANTED, encoder(FileOptions()))
    tracemalloc.start()
    file.begin()
    before, most = tracemalloc.get_traced_memory()[0], 0
    for _ in range(times):
        file.feed(block)
        most = max(most, tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()
    assert len(file.end()) < 600 * len(block) / 100 * 4
    return most


def test_values_of_readers_are_no_part_of_the_question() -> None:
    """The tenant comes first in both counts; cursor and filters are places."""
    asked = statement(ExportSelection("acme", Filters(model=("m';--",)), after="x'; DROP", limit=7))

    assert "DROP" not in asked.sql
    assert "--" not in asked.sql
    assert asked.sql.count("WHERE tenant = {tenant:String} AND ") == 2
    assert asked.sql.endswith(" LIMIT 7")
    assert asked.tenant == "acme"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0, GZIP;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
    ],
)
def test_the_encoding_is_one_that_the_reader_accepts(accepted: str, encoding: str | None) -> None:
    """As Accept-Encoding has it."""
    assert choose_encoding(accepted) == encoding


def test_a_note_names_its_code() -> None:
    """In the middle of an answer ClickHouse says by its code alone what happened."""
    lines = RowParser()
    lines.feed(block("a"))
    with pytest.raises(BrokenAnswerError) as broken:
        lines.feed(NOTE % 241)

    assert broken.value.code == 241
