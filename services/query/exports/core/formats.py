"""The formats of exports, as a table.  Pure."""

from collections.abc import Callable
from typing import NamedTuple

from services.query.exports.core.csv_file import CsvFile
from services.query.exports.core.encoder import Encoder, Options
from services.query.exports.core.ndjson_file import NdjsonFile
from services.query.exports.core.parquet_file import ParquetFile


class Format(NamedTuple):
    """A format: its name is also the suffix of its files."""

    name: str
    media_type: str
    encoder: Callable[[Options], Encoder]
    options: tuple[str, ...] = ()
    """Which of the options mean something for it."""
    is_compressed: bool = False
    """A content encoding would only cost time."""


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("csv", "text/csv; charset=utf-8; header=present", CsvFile, ("trailer", "bom")),
        Format("ndjson", "application/x-ndjson", NdjsonFile, ("trailer",)),
        Format("parquet", "application/vnd.apache.parquet", ParquetFile, is_compressed=True),
    )
}

DEFAULT = "ndjson"
