"""Authentication: a key in a header, a browser's session, or, without a key file, this machine."""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from services.query.core.problems import ProblemCode, QueryProblem
from services.query.core.sessions import COOKIE, Session, is_valid, issue, named
from services.runtime.http.keys import Caller, Forbidden, Guard, KeyFile, Scope, Unauthenticated


class Access:
    """Authenticates requests, and signs browsers in."""

    def __init__(self, keys: KeyFile, session_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._guard = Guard(keys)
        self._session_seconds = session_seconds
        self._clock = clock

    def reader(self, request: Request) -> Caller:
        """Return the caller, who may read; raise QueryProblem.  A key in a header overrides a session."""
        caller = self._caller(request)
        if not caller.may(Scope.READ):
            raise QueryProblem(ProblemCode.FORBIDDEN, "this key does not have the scope `read`")
        return caller

    def admin(self, request: Request) -> Caller:
        """Return the caller, who may erase; raise QueryProblem.  A session does not suffice."""
        caller = self._named(request)
        if not caller.may(Scope.ADMIN):
            raise QueryProblem(ProblemCode.FORBIDDEN, "this key does not have the scope `admin`")
        return caller

    def may_still_read(self, request: Request, tenant: str) -> bool:
        """Return whether the caller may still read: the key may have been revoked, or expired."""
        try:
            return self.reader(request).tenant == tenant
        except QueryProblem:
            return False

    @property
    def is_open(self) -> bool:
        """Whether there are no keys: then every client on the loopback interface may read."""
        return self._keys.ring() is None

    def sign_in(self, key: str) -> str:
        """Return the value of the session cookie for a key that may read; raise QueryProblem."""
        ring = self._keys.ring()
        text = key.strip().encode()
        caller = ring.caller(text) if ring else None
        key_id = ring.key_id(text) if ring else None
        digest = ring.digest(key_id) if ring and key_id else None
        if caller is None or key_id is None or digest is None:
            raise QueryProblem(ProblemCode.UNAUTHENTICATED, "this key is unknown or was revoked")
        if not caller.may(Scope.READ):
            raise QueryProblem(ProblemCode.FORBIDDEN, "this key does not have the scope `read`")
        return issue(key_id, digest, self._clock())

    def check_place(self, request: Request) -> None:
        """Raise QueryProblem for a request from another host while there are no keys."""
        try:
            self._guard.check_neighbour(
                _header(request, "host"), _header(request, "origin"), dict(request.scope["headers"])
            )
        except Forbidden as refused:
            raise QueryProblem(ProblemCode.FORBIDDEN, str(refused)) from None

    def _caller(self, request: Request) -> Caller:
        session = named(request.cookies.get(COOKIE, ""))
        has_key = "authorization" in request.headers or "x-api-key" in request.headers
        if session is not None and not has_key:
            caller = self._signed_in(session)
            if caller is not None:
                return caller
        return self._named(request)

    def _named(self, request: Request) -> Caller:
        """Return the caller of the key in a header, or this machine where there are no keys."""
        try:
            return self._guard.caller(
                authorization=_header(request, "authorization"),
                x_api_key=_header(request, "x-api-key"),
                host=_header(request, "host"),
                origin=_header(request, "origin"),
                headers=dict(request.scope["headers"]),
            )
        except Unauthenticated as refused:
            raise QueryProblem(ProblemCode.UNAUTHENTICATED, str(refused)) from None
        except Forbidden as refused:
            raise QueryProblem(ProblemCode.FORBIDDEN, str(refused)) from None

    def _signed_in(self, session: Session) -> Caller | None:
        ring = self._keys.ring()
        digest = ring.digest(session.key_id) if ring else None
        if ring is None or digest is None:
            return None
        is_known = is_valid(session, digest, self._session_seconds, self._clock())
        return ring.owner(digest) if is_known else None


def _header(request: Request, name: str) -> bytes | None:
    value = request.headers.get(name)
    return None if value is None else value.encode("latin-1")


async def _reader(request: Request) -> Caller:
    access: Access = request.app.state.service.access
    return access.reader(request)


Reader = Annotated[Caller, Depends(_reader)]
"""The authenticated caller of a route that reads rows of `reader.tenant`."""


async def _admin(request: Request) -> Caller:
    access: Access = request.app.state.service.access
    return access.admin(request)


Admin = Annotated[Caller, Depends(_admin)]
"""The authenticated caller of a route that erases feedback of `admin.tenant`."""
