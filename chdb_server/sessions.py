"""Sessions: connections that outlive a request, for temporary tables and SET."""

from dataclasses import dataclass
from threading import Lock

from chdb_server.connections import Connections, Link
from chdb_server.core.errors import Code, RefusedError
from chdb_server.core.request import SessionAsk

MAX_SESSIONS = 1024


@dataclass
class _Session:
    link: Link
    expires: float
    busy: bool


class Sessions:
    """All sessions; used from many threads.  Times are seconds of one monotonic clock."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._lock = Lock()

    def borrow(self, ask: SessionAsk, now: float) -> Link:
        """Return the session's connection, for one request at a time.  RefusedError as a server words it."""
        with self._lock:
            self._expire(now)
            session = self._sessions.get(ask.key)
            if session is None:
                session = self._sessions[ask.key] = self._create(ask)
            elif session.busy:
                text = f"Session {ask.name} is locked by a concurrent client."
                raise RefusedError(Code.SESSION_IS_LOCKED, text)
            session.busy = True
            return session.link

    def give_back(self, ask: SessionAsk, now: float) -> None:
        """End a request's use of its session, and the session too if it asked for that."""
        with self._lock:
            session = self._sessions[ask.key]
            session.busy = False
            session.expires = now + ask.timeout_seconds
            if ask.close:
                self._drop(ask.key)

    def close(self) -> None:
        """Close all sessions that no request is using."""
        with self._lock:
            for key in [key for key, session in self._sessions.items() if not session.busy]:
                self._drop(key)

    def _create(self, ask: SessionAsk) -> _Session:
        if ask.must_exist:
            raise RefusedError(Code.SESSION_NOT_FOUND, f"Session {ask.name} not found.")
        if len(self._sessions) >= MAX_SESSIONS:
            text = f"There are {MAX_SESSIONS} sessions already: close some, or wait until they time out."
            raise RefusedError(Code.TOO_MANY_SIMULTANEOUS_QUERIES, text)
        return _Session(self._connections.open(), 0, busy=False)

    def _expire(self, now: float) -> None:
        for key in [
            key for key, session in self._sessions.items() if not session.busy and session.expires < now
        ]:
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        self._sessions.pop(key).link.close()
