"""Reads the exports of other systems: each item of a file becomes one event of Afterword.

Exports have the newest item first, most of the time.  A row has the latest event of each key, so the items of
a file are sent in the order of their times.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from services.ingest.core.errors import BodyFault, Rejection, invalid
from services.ingest.core.validation import decoded
from services.ingest.dialects.dialect import Submission, member, required, submission
from services.ingest.dialects.item_changes import RATER
from services.ingest.dialects.langfuse import read_score
from services.ingest.dialects.langsmith_feedback import feedback
from services.operations.send.core.csv_rows import CsvHeader, header_of, inferred, mapped, mapping
from services.operations.send.core.plan import SendLimits
from services.operations.send.core.split import FileLayout, FilePosition, SendEntry, Splitter

WHOLE_FILE = SendLimits(chunk_entries=sys.maxsize, chunk_bytes=sys.maxsize)
"""One chunk, and thus one order by time."""


MAX_ITEM_BYTES = 64 << 20
"""A longer item ends the file.  An item of Open WebUI has the whole chat, with its images."""


class ExportSystem(StrEnum):
    """Systems whose exports are read."""

    LANGFUSE = "langfuse"
    LANGSMITH = "langsmith"
    OPENWEBUI = "openwebui"
    CSV = "csv"


class ExportFormat(NamedTuple):
    """What a file is: the system that exported it, and for plain CSV the columns' fields (FIELD=COLUMN)."""

    system: ExportSystem
    maps: tuple[str, ...] = ()

    @property
    def can_be_csv(self) -> bool:
        """Whether the system exports CSV."""
        return self.system is not ExportSystem.OPENWEBUI


ReadItem = Callable[[bytes], Submission | None]
"""Returns the submission of an entry's text, None if the entry has none; raises Rejection."""


def item_reader(source: ExportFormat, layout: FileLayout, head: bytes) -> ReadItem:
    """Return the reader for a file that begins with `head`; ValueError if the format does not fit it."""
    if layout is not FileLayout.CSV:
        if source.system is ExportSystem.CSV:
            raise ValueError("this is JSON; it needs another --from, or none for Afterword's own events")
        read = _ITEMS[source.system]
        return lambda text: read(decoded(text))
    header = header_of(head)
    if source.system is ExportSystem.CSV:
        fields = mapping(source.maps, header)
        return _rows(header, lambda row: mapped(row, fields))
    read, values = _ITEMS[source.system], _VALUES[source.system]
    return _rows(header, lambda row: read(_object(row, values)))


def _rows(header: CsvHeader, read: Callable[[dict[str, str]], Submission]) -> ReadItem:
    def read_row(text: bytes) -> Submission | None:
        if text == header.text:  # also that of a second file behind the first
            return None
        row = header.row(text)
        return read(row) if row else None

    return read_row


def _object(row: Mapping[str, str], values: tuple[str, ...]) -> dict[str, Any]:
    """Return the object of a row, where a column `a.b` is a member of `a`; only `values` are not text."""
    found: dict[str, Any] = {}
    for column, cell in row.items():
        *groups, name = column.split(".")
        inner = found
        for group in groups:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise invalid(BodyFault(f"column {column}", "is a member of a column that is no object"))
        inner[name] = inferred(cell) if column.partition(".")[0] in values else cell
    return found


def langfuse_score(value: Any) -> Submission:
    """Return the submission of a score in Langfuse's export; raise Rejection.

    Names are as in the API (`traceId`) or in the Python SDK (`trace_id`).  The author is the rater if the
    metadata names none; the user of the trace is a fact of the request.
    """
    member(value, "id", str)
    score = {_UNDERSCORED.sub(lambda found: found[1].upper(), name): item for name, item in value.items()}
    if score.get("stringValue") and score.get("dataType") not in _NUMERIC:
        score["value"] = score["stringValue"]
    if isinstance(given := score.get("timestamp"), str):
        score["timestamp"] = given.strip('"')  # CSV has times as JSON
    found = read_score(score)
    author = member(score, "authorUserId", str) or member(score, "authorUserName", str)
    user = member(score, "userId", str) or member(member(score, "trace", dict) or {}, "userId", str)
    data = {**({RATER: author} if author else {}), **(found.data or {})}
    return found._replace(data=data, request={"user_id": user} if user else None)


_UNDERSCORED = re.compile("_([a-z])")
_NUMERIC = ("NUMERIC", "BOOLEAN")
"""Types of scores whose value is a number; that of others is a text."""


def openwebui_feedback(value: Any) -> Submission:
    """Return the submission of a rating in Open WebUI's export; raise Rejection.

    The request is the message.  What is exported beside the rating (`snapshot`, the whole chat) is omitted.
    """
    data, meta = (dict(member(value, name, dict) or {}) for name in ("data", "meta"))
    message, chat = (meta.pop(name, None) for name in ("message_id", "chat_id"))
    model, other_model = data.pop("model_id", None), meta.pop("model_id", None)
    tags, other_tags = data.pop("tags", None), meta.pop("tags", None)
    kept: dict[str, Any] = {name: data.pop(name, None) for name in ("rating", "comment", "reason", "details")}
    kept |= {"tags": tags or other_tags, "rating_metadata": _known(data | meta)}
    if kept["rating"] is None:
        raise invalid(BodyFault("data.rating", "is missing"))
    return submission(
        required({"message_id": message}, "message_id", str, "meta"),
        _known(kept | {"user_id": member(value, "user_id", str)}),
        _known({"model": model or other_model, "session_id": chat}) or None,
        item_id=member(value, "id", str) or "",
        at=member(value, "created_at", object),
    )


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


_ITEMS: Mapping[ExportSystem, Callable[[Any], Submission]] = {
    ExportSystem.LANGFUSE: langfuse_score,
    ExportSystem.LANGSMITH: feedback,
    ExportSystem.OPENWEBUI: openwebui_feedback,
}
_VALUES: Mapping[ExportSystem, tuple[str, ...]] = {
    ExportSystem.LANGFUSE: ("value", "metadata"),
    ExportSystem.LANGSMITH: ("score", "value", "correction", "feedback_source", "extra"),
}
"""Columns of each system's CSV that are not text."""


class ImportSplitter:
    """The entries of another splitter, each as an event; one that cannot be read is a fault."""

    def __init__(self, split: Splitter, read: ReadItem) -> None:
        self._split, self._read = split, read

    @property
    def place(self) -> FilePosition:
        """The position behind the last entry."""
        return self._split.place

    def feed(self, block: bytes) -> Iterator[SendEntry]:
        """Yield the events of the entries that end in this block."""
        for entry in self._split.feed(block):
            yield from self._event(entry)

    def finish(self) -> Iterator[SendEntry]:
        """Yield the event of the last entry."""
        for entry in self._split.finish():
            yield from self._event(entry)

    def _event(self, entry: SendEntry) -> Iterator[SendEntry]:
        if entry.fault:
            yield entry
            return
        try:
            found = self._read(entry.text)
        except Rejection as rejection:
            yield entry._replace(fault=rejection.detail, code=rejection.code)
            return
        if found is not None:
            yield entry._replace(text=_native(found), at=found.at)


def _native(found: Submission) -> bytes:
    fields = {
        "request_id": found.request_id,
        "item_id": found.item_id or None,
        "at": found.at or None,
        "data": found.data,
        "request": found.request,
    }
    text = orjson.dumps({name: value for name, value in fields.items() if value is not None})
    return bytes(memoryview(text))  # a copy: orjson leaves the space of 4 KiB, and a whole file is in memory
