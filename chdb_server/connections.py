"""The engine of one directory, its connections, and the sessions that keep a connection between requests.

chdb documents little of this, so it was found by experiment: connections of one process run in parallel, a
connection runs one statement at a time, opening one takes a tenth of a millisecond, and settings, database
and temporary tables belong to the connection.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from chdb import _chdb

from chdb_server.core.errors import ClickHouseCode, QueryRefusedError
from chdb_server.core.request import SessionRequest

_SERVER_DEFAULTS = "SET implicit_select = 0"
"""By default the engine reads `garbage` as `SELECT garbage`; a server does not."""


def quoted(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted_name(text: str) -> str:
    """Return `text` as a quoted SQL name."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


class ChdbConnection:
    """One connection of the engine.  Any thread may use it, one at a time."""

    def __init__(self, address: str) -> None:
        self.raw: Any = _chdb.connect(address)  # type: ignore[attr-defined] # chdb's stub leaves it out
        self.run(_SERVER_DEFAULTS)

    def run(self, sql: str) -> None:
        """Run a statement without a result."""
        self.raw.query(sql, "Null")

    def rows(self, sql: str | bytes, binds: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a small query."""
        result = self.raw.query(sql, "JSONEachRow", params=dict(binds or {})).bytes()
        return [json.loads(line) for line in result.splitlines()]

    def use(self, database: str) -> None:
        """Set the current database."""
        self.run(f"USE {quoted_name(database)}")

    def set(self, settings: Mapping[str, str]) -> None:
        """Set settings.  The caller has checked their names."""
        if settings:
            self.run("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """Return the current values of settings, by name."""
        quoted_names = ", ".join(quoted(name) for name in names)
        rows = self.rows(f"SELECT name, value FROM system.settings WHERE name IN ({quoted_names})")  # noqa: S608 (quoted)
        return {row["name"]: row["value"] for row in rows}

    def database(self) -> str:
        """Return the current database."""
        name: str = self.rows("SELECT currentDatabase() AS name")[0]["name"]
        return name

    def close(self) -> None:
        """Close the connection, which ends an unfinished streaming query."""
        self.raw.close()


class ChdbEngine:
    """The engine on one directory, which runs until this is closed."""

    def __init__(self, directory: Path, memory_bytes: int) -> None:
        self._address = f"{directory}?max_server_memory_usage={memory_bytes}"
        self._root = ChdbConnection(self._address)
        about = self._root.rows("SELECT version() AS version, timezone() AS timezone")[0]
        self.version: str = about["version"]
        self.timezone: str = about["timezone"]

    def open(self) -> ChdbConnection:
        """Return a new connection."""
        return ChdbConnection(self._address)

    def kill(self, markers: Iterable[str]) -> None:
        """Kill the queries with these markers (their log_comment), without waiting for their end.

        Cancelling the streaming query itself would wait for its blocked fetch.
        """
        connection = self.open()
        try:
            quoted_markers = ", ".join(quoted(marker) for marker in markers)
            connection.run(f"KILL QUERY WHERE Settings['log_comment'] IN ({quoted_markers}) ASYNC")
        finally:
            connection.close()

    def close(self) -> None:
        """Shut the engine down."""
        self._root.close()


MAX_SESSIONS = 1024


@dataclass
class _Session:
    connection: ChdbConnection
    expires: float
    busy: bool


class Sessions:
    """All sessions, safe for use by multiple threads.  Times are seconds of one monotonic clock."""

    def __init__(self, engine: ChdbEngine) -> None:
        self._engine = engine
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._lock = Lock()

    def borrow(self, session_request: SessionRequest, now: float) -> ChdbConnection:
        """Return the session's connection, for one request at a time.  QueryRefusedError as a server's."""
        with self._lock:
            self._expire(now)
            session = self._sessions.get(session_request.key)
            if session is None:
                session = self._sessions[session_request.key] = self._create(session_request)
            elif session.busy:
                text = f"Session {session_request.name} is locked by a concurrent client."
                raise QueryRefusedError(ClickHouseCode.SESSION_IS_LOCKED, text)
            session.busy = True
            return session.connection

    def give_back(self, session_request: SessionRequest, now: float) -> None:
        """End a request's use of its session, and close the session if the request asks for it."""
        with self._lock:
            session = self._sessions[session_request.key]
            session.busy = False
            session.expires = now + session_request.timeout_seconds
            if session_request.close:
                self._drop(session_request.key)

    def close(self) -> None:
        """Close all sessions that no request uses."""
        with self._lock:
            for key in [key for key, session in self._sessions.items() if not session.busy]:
                self._drop(key)

    def _create(self, session_request: SessionRequest) -> _Session:
        if session_request.must_exist:
            raise QueryRefusedError(
                ClickHouseCode.SESSION_NOT_FOUND, f"Session {session_request.name} not found."
            )
        if len(self._sessions) >= MAX_SESSIONS:
            text = f"There are {MAX_SESSIONS} sessions already: close some, or wait until they time out."
            raise QueryRefusedError(ClickHouseCode.TOO_MANY_SIMULTANEOUS_QUERIES, text)
        return _Session(self._engine.open(), 0, busy=False)

    def _expire(self, now: float) -> None:
        for key in [
            key for key, session in self._sessions.items() if not session.busy and session.expires < now
        ]:
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        self._sessions.pop(key).connection.close()
