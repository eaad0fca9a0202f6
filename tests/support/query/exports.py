"""Rows as ClickHouse's TabSeparated text has them, and exported files as other programs read them."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from services.query.exports.core.parquet_file import METADATA
from services.query.exports.core.rows import NAMES
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import run, state_row

_ESCAPES = {
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\0": "\\0",
    "'": "\\'",
    "\\": "\\\\",
}
JSON_TEXTS = ("sources", "tags", "data", "request")
NUMBERS = ("rating", "latency_ms", "cost_usd")


def export_row(request_id: str, **values: Any) -> dict[str, Any]:
    """Return a row as a list has it, with other values for some columns."""
    return {
        "request_id": request_id,
        "version": "7",
        "first_received_at": "2026-11-22T08:00:00.123456Z",
        "last_received_at": "2026-11-22T09:00:00.000000Z",
        "sources": ["native"],
        "rating": None,
        "vote": "",
        "sentiment": "",
        "comment": "",
        "helpful": None,
        "user_id": "",
        "tags": [],
        "model": "",
        "provider": "",
        "latency_ms": None,
        "cost_usd": None,
        "started_at": None,
        "data": {},
        "request": {},
        "stored_at": "2026-11-22T09:00:01.000000Z",
        **values,
    }


def tab_separated(rows: Sequence[dict[str, Any]], total: int | None = None) -> bytes:
    """Return the rows as ClickHouse answers them: each with how many there are behind it."""
    behind = len(rows) if total is None else total
    lines = ("\t".join([*(_field(row[name]) for name in NAMES), str(behind)]) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _field(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return "".join(_ESCAPES.get(character, character) for character in text)


def read_csv(file: bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column, as Python's reader sees them."""
    reader = csv.reader(io.StringIO(file.decode(), newline=""), strict=True)
    header = next(reader)
    assert tuple(header) == NAMES
    return [dict(zip(header, cells, strict=True)) for cells in reader]


def cells_of(row: dict[str, Any], mark: Any) -> dict[str, str]:
    """Return what a row is in CSV; `mark` makes a text a cell."""
    cells = {}
    for name, value in row.items():
        if value is None:
            cells[name] = ""
        elif name in JSON_TEXTS:
            cells[name] = orjson.dumps(value).decode()
        elif isinstance(value, str):
            cells[name] = value if name == "version" or name.endswith("_at") else mark(value)
        else:
            cells[name] = json.dumps(value)
    return cells


def read_ndjson(file: bytes) -> list[dict[str, Any]]:
    """Return the objects of an NDJSON file."""
    assert not file or file.endswith(b"\n")
    return [json.loads(line) for line in file.split(b"\n")[:-1]]


def read_parquet(file: bytes) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file in the shape of a list's."""
    table = pq.read_table(pa.BufferReader(file))
    assert tuple(table.column_names) == NAMES
    return [_listed(row) for row in table.to_pylist()]


def parquet_ending(file: bytes) -> dict[str, Any]:
    """Return what the footer says of the export."""
    metadata = pq.read_metadata(pa.BufferReader(file)).metadata
    ending: dict[str, Any] = json.loads(metadata[METADATA.encode()])
    return ending


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    times = {
        name: value and f"{value:%Y-%m-%dT%H:%M:%S.%fZ}"
        for name, value in row.items()
        if name.endswith("_at")
    }
    opened = {name: json.loads(row[name]) for name in ("data", "request")}
    return row | times | opened | {"version": str(row["version"])}


def pieces_of(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Return the bytes cut into pieces of these sizes, the last one of what is left."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


HOSTILE = (
    "=1+1", " =1", "-1", "'quoted", "plain", "tab\there", "cr\r\nlf", 'say "hi", then', "back\\slash", "\\N",
    "nul\0byte", "日本 😀", "__exception__", "\r\n__exception__\r\n", "\u2028", "it's", "a/b",
)  # fmt: skip


def hostile_rows() -> list[dict[str, Any]]:
    """Return rows whose every text is hostile somewhere."""
    return [
        state_row(
            f"r{number:02}{text}",
            number,
            version=2**64 - 2 - number,
            data={
                "comment": text,
                "tags": [text, "x"],
                "rating": rating,
                "helpful": number % 2 == 0,
                text: text,
            },
            request={"model": text, "provider": text, "latency_ms": -0.5 * number, "started_at": started},
        )
        for number, text in enumerate(HOSTILE)
        for rating in ((None, -1, 4.5, "amazing", 1e300)[number % 5],)
        for started in ((None, "2026-11-22T08:00:00.5Z", "2026-11-22")[number % 3],)
    ]


async def fill(settings: ClickHouseSettings, count: int, size: int = 600) -> None:
    """Store so many rows in tables that are there, half of them twice, each with so many bytes of text."""
    columns = "revision, tenant, request_id, version, first_received_at, last_received_at, sources, data"
    rating = "toString(1 + number % 5)"
    data = f"""concat('{{"rating":', {rating}, ',"text":"', hex(randomString({size // 2})), '"}}')"""
    for revision, part in ((1, count), (count + 1, count // 2)):
        await run(
            settings,
            f"""INSERT INTO feedback_state ({columns})
            SELECT {revision} + number, 'default', 'r' || leftPad(toString(number), 7, '0'), 1, now(), now(),
                ['native'], {data}
            FROM numbers({part}) SETTINGS max_block_size = 1000""",
        )
