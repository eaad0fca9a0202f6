"""Other programs read the Parquet files of exports, which this project writes itself."""

from pathlib import Path

import chdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.query.exports.core.encoder import ExportEnding, FileOptions
from services.query.exports.core.parquet_file import GroupSizes, ParquetFile
from services.query.exports.core.rows import NAMES, RowParser
from tests.support.query.exports import HOSTILE, export_row, read_parquet, tab_separated

ROWS = [
    export_row(
        f"r{number:02}{text}",
        version=str(2**64 - 1 - number),
        comment=text,
        tags=[text] * (number % 3),
        rating=(None, -1.0, 4.5, 1e300)[number % 4],
        helpful=(True, False, None)[number % 3],
        started_at=(None, "2199-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000000Z")[number % 3],
        data={"text": text},
    )
    for number, text in enumerate(HOSTILE)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of several groups, each of several pages."""
    encoder, path = (
        ParquetFile(FileOptions(), GroupSizes(page_rows=2, group_rows=5)),
        tmp_path / "export.parquet",
    )
    pieces = [encoder.begin(), encoder.rows(RowParser().feed(tab_separated(ROWS)))]
    path.write_bytes(b"".join([*pieces, encoder.end(ExportEnding(len(ROWS), None, complete=True))]))
    return path


def test_arrow_sees_the_types_that_the_page_promises(file: Path) -> None:
    """Times with their zone, unsigned versions, lists of texts that cannot be NULL."""
    texts = pa.list_(pa.field("element", pa.string(), nullable=False))
    time = pa.timestamp("us", "UTC")
    types = {
        "version": pa.uint64(),
        "sources": texts,
        "tags": texts,
        **dict.fromkeys(("rating", "latency_ms", "cost_usd"), pa.float64()),
        "helpful": pa.bool_(),
        **dict.fromkeys((name for name in NAMES if name.endswith("_at")), time),
    }
    nullable = {"rating", "helpful", "latency_ms", "cost_usd", "started_at"}

    assert pq.read_schema(file).remove_metadata() == pa.schema(
        [pa.field(name, types.get(name, pa.string()), nullable=name in nullable) for name in NAMES]
    )
    assert read_parquet(file.read_bytes()) == ROWS


def test_clickhouse_reads_the_same(file: Path) -> None:
    """By an implementation of its own; one that skips groups finds each row all the same."""
    query = f"FROM file('{file}', Parquet)"
    columns = "request_id, toString(version) AS version, comment, tags, rating, helpful, data, "
    started = "formatDateTime(started_at, '%Y-%m-%dT%H:%i:%S.%fZ', 'UTC') AS started_at"
    lines = asked(f"SELECT {columns}{started} {query} ORDER BY request_id FORMAT JSONEachRow")
    found = [orjson.loads(line) for line in lines.split(b"\n")[:-1]]
    expected = [
        {name: row[name] for name in found[0]} | {"data": orjson.dumps(row["data"]).decode()} for row in ROWS
    ]

    assert found == sorted(expected, key=lambda row: row["request_id"].encode())
    for row in ROWS:
        assert asked(f"SELECT count() {query} WHERE version = {row['version']}") == b"1\n"


def asked(question: str) -> bytes:
    """Return the engine's answer."""
    answer: bytes = chdb.query(question, "TabSeparated").bytes()  # type: ignore[no-untyped-call]
    return answer
