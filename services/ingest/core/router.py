"""Maps the raw path of a request to endpoints of the dialects.

ASGI servers decode `%2F` in `path`; only `raw_path` distinguishes it from `/`.  So a request id may contain
any character, a literal `/` inside it matches no route, and one trailing `/` is ignored.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from services.ingest.core.errors import BodyFault, invalid
from services.ingest.dialects.dialect import REQUEST_ID, Dialect, Route

KEY_PREFIX = b"/k/"
"""Precedes `{write_key}` in front of any route, for clients that cannot send headers."""

_PATH_KEY = re.compile(r"/k/[^/]*")
_DOTS = (".", "..")
_ID_SEGMENT = "/" + REQUEST_ID


class Endpoint(NamedTuple):
    """A route, the dialect that it belongs to, and those of other dialects that have the same path."""

    dialect: Dialect
    route: Route
    others: "tuple[Endpoint, ...]" = ()


class PathMatch(NamedTuple):
    """The endpoints of a path by method, the percent-encoded request id, and the API key in the path."""

    endpoints: dict[str, Endpoint]
    raw_id: bytes | None
    path_key: bytes | None


class Router:
    """Finds endpoints by path, with and without the prefix of their dialect."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self._exact: dict[bytes, dict[str, Endpoint]] = {}
        self._before_id: dict[bytes, dict[str, Endpoint]] = {}
        self._around_id: dict[tuple[bytes, bytes], dict[str, Endpoint]] = {}
        self._territories: list[tuple[bytes, Dialect]] = []
        for dialect in dialects:
            for route in dialect.routes:
                for prefix in ("", f"/{dialect.name}") if route.is_bare else (f"/{dialect.name}",):
                    self._add(prefix + route.path, Endpoint(dialect, route))
            for path in dialect.untaken:
                self._exact[f"/{dialect.name}{path}".encode()] = {}
            starts = (f"/{dialect.name}/", *dialect.territory)
            self._territories += [(start.encode(), dialect) for start in starts]
        # An id is never empty: a path that ends where one would follow is also the path without it.
        for start in self._exact.keys() & self._before_id.keys():
            self._exact[start + b"/"] = {**self._exact[start], **self._before_id[start]}

    def _add(self, path: str, endpoint: Endpoint) -> None:
        before, has_id, after = path.partition(_ID_SEGMENT)
        start = before.removesuffix("/").encode()
        if not has_id:
            endpoints = self._exact.setdefault(start, {})
        elif not after:
            endpoints = self._before_id.setdefault(start, {})
        else:
            endpoints = self._around_id.setdefault((start, after.encode()), {})
        method = endpoint.route.method
        first = endpoints.setdefault(method, endpoint)
        if first is not endpoint and first.route.fits is not None and endpoint.route.fits is not None:
            endpoints[method] = first._replace(others=(*first.others, endpoint))

    def find(self, raw_path: bytes) -> PathMatch | None:
        """Return the endpoints of a path, or None."""
        path_key = None
        if raw_path.startswith(KEY_PREFIX):
            path_key, slash, rest = raw_path[len(KEY_PREFIX) :].partition(b"/")
            raw_path = slash + rest
        found = self._at(raw_path, path_key)
        if found is None and raw_path.endswith(b"/"):
            found = self._at(raw_path[:-1], path_key)
        return found

    def _at(self, raw_path: bytes, path_key: bytes | None) -> PathMatch | None:
        endpoints = self._exact.get(raw_path)
        if endpoints is not None:
            return PathMatch(endpoints, None, path_key) if endpoints else None
        before, _, last = raw_path.rpartition(b"/")
        endpoints = self._before_id.get(before)
        if endpoints is not None:
            return PathMatch(endpoints, last, path_key)
        before, _, raw_id = before.rpartition(b"/")
        endpoints = self._around_id.get((before, b"/" + last))
        return None if endpoints is None else PathMatch(endpoints, raw_id, path_key)

    def owner(self, raw_path: bytes) -> Dialect | None:
        """Return the dialect whose clients use a path that no route has, or None."""
        if raw_path.startswith(KEY_PREFIX):
            raw_path = b"/" + raw_path[len(KEY_PREFIX) :].partition(b"/")[2]
        return next((owner for start, owner in self._territories if raw_path.startswith(start)), None)


def chosen(endpoint: Endpoint, value: Any) -> Endpoint:
    """Return which of the endpoints of one path takes a decoded body; raise Rejection if none does."""
    candidates = (endpoint, *endpoint.others)
    for candidate in candidates:
        if candidate.route.fits is not None and candidate.route.fits(value):
            return candidate._replace(others=())
    taken = "; ".join(f"{one.dialect.name}: {one.route.looks_for}" for one in candidates)
    raise invalid(BodyFault("", f"is of none of the dialects that this path takes ({taken})"))


def request_id_of(raw_id: bytes) -> str:
    """Return the request id of a percent-encoded path segment; raise Rejection.

    `.` and `..` are rejected, because proxies rewrite them.
    """
    try:
        request_id = (unquote_to_bytes(raw_id) if b"%" in raw_id else raw_id).decode()
    except UnicodeDecodeError:
        raise invalid(BodyFault("request_id", "is not UTF-8 when percent-decoded")) from None
    if request_id in _DOTS:
        raise invalid(
            BodyFault(
                "request_id", f"{request_id!r} cannot be sent in a path; send it in the body of /v1/events"
            )
        )
    return request_id


def redacted(raw_path: bytes) -> str:
    """Return a path for the log, with an API key in it replaced."""
    return _PATH_KEY.sub("/k/***", raw_path.decode("ascii", "replace"))
