"""From the raw path of a request to its route.  Pure.

Servers decode `%2F` in the path that they hand on; only the raw one tells it from `/`.  So an id may
contain any character, and a literal `/` in it is no such route; at the end of a path it means nothing.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from services.ingest.core.errors import Fault, invalid
from services.ingest.dialects.dialect import REQUEST_ID, Dialect, Route

KEY_PREFIX = b"/k/"
"""`/k/{write_key}` before any route, for clients that send no header."""

_PATH_KEY = re.compile(r"/k/[^/]*")
_DOTS = (".", "..")
_ID_SUFFIX = "/" + REQUEST_ID


class Place(NamedTuple):
    """A dialect's route at a path."""

    dialect: Dialect
    route: Route


class Found(NamedTuple):
    """What a path leads to: its routes by method, and the parts of the path that matter."""

    places: dict[str, Place]
    raw_id: bytes | None
    path_key: bytes | None


class Paths:
    """All paths of all dialects, bare and under each dialect's own prefix."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self._exact: dict[bytes, dict[str, Place]] = {}
        self._before_id: dict[bytes, dict[str, Place]] = {}
        for dialect in dialects:
            for route in dialect.routes:
                for prefix in ("", f"/{dialect.name}"):
                    self._add(prefix + route.path, Place(dialect, route))

    def _add(self, path: str, place: Place) -> None:
        table = self._before_id if path.endswith(_ID_SUFFIX) else self._exact
        places = table.setdefault(path.removesuffix(_ID_SUFFIX).removesuffix("/").encode(), {})
        places.setdefault(place.route.method, place)

    def find(self, raw_path: bytes) -> Found | None:
        """Return what a path leads to, or None."""
        path_key = None
        if raw_path.startswith(KEY_PREFIX):
            path_key, slash, rest = raw_path[len(KEY_PREFIX) :].partition(b"/")
            raw_path = slash + rest
        found = self._at(raw_path, path_key)
        if found is None and raw_path.endswith(b"/"):
            found = self._at(raw_path[:-1], path_key)
        return found

    def _at(self, raw_path: bytes, path_key: bytes | None) -> Found | None:
        places = self._exact.get(raw_path)
        if places is not None:
            return Found(places, None, path_key)
        before, _, raw_id = raw_path.rpartition(b"/")
        places = self._before_id.get(before)
        return None if places is None else Found(places, raw_id, path_key)


def request_id_of(raw_id: bytes) -> str:
    """Return the id that a path's last segment is; `.` and `..` are refused, since proxies rewrite them."""
    try:
        request_id = (unquote_to_bytes(raw_id) if b"%" in raw_id else raw_id).decode()
    except UnicodeDecodeError:
        raise invalid(Fault("request_id", "is not UTF-8 when percent-decoded")) from None
    if request_id in _DOTS:
        raise invalid(
            Fault("request_id", f"{request_id!r} cannot be sent in a path; send it in the body of /v1/events")
        )
    return request_id


def redacted(raw_path: bytes) -> str:
    """Return a path as it may be logged: without the key that it may carry."""
    return _PATH_KEY.sub("/k/***", raw_path.decode("ascii", "replace"))
