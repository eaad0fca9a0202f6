"""What kind of body a request says it carries.  Pure."""

from collections.abc import Mapping
from enum import Enum

from services.ingest.core.errors import Code, Rejection

NDJSON_TYPES = (
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/x-jsonlines",
)


class Kind(Enum):
    """How to read a body."""

    JSON = "json"
    LINES = "lines"


def body_kind(headers: Mapping[bytes, bytes], *, lines: bool, text: bool = False) -> Kind:
    """Return how to read a body, or raise Rejection; without a Content-Type it is JSON.

    `lines` says that the route takes newline-delimited JSON as well; `text`, that plain text is JSON: pages
    that close can send nothing else without being asked first.
    """
    header = headers.get(b"content-type")
    if header is None or header == b"application/json":
        return Kind.JSON
    name = header.partition(b";")[0].strip().lower()
    if name in (b"", b"application/json") or (name.startswith(b"application/") and name.endswith(b"+json")):
        return Kind.JSON
    if text and name == b"text/plain":
        return Kind.JSON
    if lines and name in NDJSON_TYPES:
        return Kind.LINES
    supported = "application/json" + (" and application/x-ndjson are" if lines else " is")
    detail = f"Content-Type {name.decode('latin-1')[:60]!r} is not supported; {supported}"
    raise Rejection(Code.UNSUPPORTED_MEDIA_TYPE, detail)
