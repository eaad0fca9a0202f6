"""The application: FastAPI, with its routes as a table, and problems in one shape."""

from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from services.query.api import ROUTERS
from services.query.api.openapi import complete
from services.query.core.problems import Code, Fault, Problem, invalid
from services.query.disconnect import READING, attended
from services.query.measured import measured
from services.query.metrics import PROBLEMS
from services.query.service import Service
from services.runtime.http.core.proxies import Proxies, inner_path
from services.runtime.http.health import Health, probe_app
from services.runtime.http.server import lifespan

PROBES = (b"/livez", b"/readyz", b"/metrics")

DESCRIPTION = """Reads back what Afterword has stored: the latest state of each request, its history,
statistics, exports, and how far everything is stored.

Everything belongs to the tenant of the key, and is read-only but for erasures, which take a key with the
scope `admin`.  Every error is `application/problem+json` with
a stable `code`.
"""


class QueryApp(FastAPI):
    """Routes by the raw path, so that an id may contain any character, `/` as `%2F`."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            title="Afterword query",
            version="1",
            description=DESCRIPTION,
            lifespan=lifespan(service),
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            exception_handlers={
                Problem: _problem,
                HTTPException: _http_problem,
                RequestValidationError: _invalid,
                Exception: _failed,
            },
        )
        self.state.service = service
        self._probes = probe_app(service.health)
        self._proxies = Proxies(service.settings.query_trusted_proxies)
        self._root = service.settings.query_root_path.encode()
        for router in ROUTERS:
            self.include_router(router)

    @property
    def health(self) -> Health:
        """The checks of this process."""
        service: Service = self.state.service
        return service.health

    def stopping(self) -> None:
        """End live pages and waits, some of which would have no end: their readers come again."""
        self.state.service.live.close()
        self.state.service.positions.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or take part in the server's start and stop."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        scope, send = self._inner(scope), _leading_back(send, self._root)
        try:
            self._check(scope)
        except Problem as problem:
            await respond(problem)(scope, receive, send)
            return
        if scope["raw_path"] in PROBES:
            await self._probes(scope, receive, send)
            return
        answering = partial(attended, super().__call__, is_head=is_head)
        with suppress(ClientDisconnect):
            await measured(answering, scope, receive, send)

    def _inner(self, scope: Any) -> Any:
        """Return a request as its client made it, at the one form of its path.

        A proxy may have spoken for the client, and may have left the prefix of the path.  A slash at the end
        means nothing: one of an id is `%2F`.  HEAD is GET whose body is left out.
        """
        raw_path = inner_path(self._root, scope["raw_path"])
        raw_path = raw_path[:-1] if raw_path.endswith(b"/") and raw_path != b"/" else raw_path
        peer, port = scope.get("client") or ("", 0)
        visitor = self._proxies.seen(peer, scope["headers"])
        if visitor.host is None:
            headers = scope["headers"]
        else:
            headers = [one for one in scope["headers"] if one[0] != b"host"]
            headers.append((b"host", visitor.host.encode("latin-1")))
        return {
            **scope,
            "method": "GET" if scope["method"] == "HEAD" else scope["method"],
            "path": raw_path.decode("latin-1"),
            "raw_path": raw_path,
            "scheme": visitor.scheme,
            "headers": headers,
            "client": (visitor.address, port),
        }

    def openapi(self) -> dict[str, Any]:
        """Return the document that describes every route; made when it is first asked for."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
            if self._root:
                self.openapi_schema["servers"] = [{"url": self._root.decode()}]
        return self.openapi_schema

    def _check(self, scope: Any) -> None:
        """Raise Problem for what is refused whatever the route."""
        service: Service = self.state.service
        service.access.check_place(Request(scope))
        if scope["raw_path"] in PROBES and scope["method"] not in READING:
            detail = f"this route takes {', '.join(READING)}"
            raise Problem(Code.METHOD_NOT_ALLOWED, detail, headers={"allow": ", ".join(READING)})


def _leading_back(send: Any, root: bytes) -> Any:
    """Let redirects to paths of ours lead to where a proxy publishes them."""
    if not root:
        return send

    async def led(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name, root + value) if name == b"location" and value.startswith(b"/") else (name, value)
                for name, value in message["headers"]
            ]
            message = {**message, "headers": headers}
        await send(message)

    return led


def respond(problem: Problem) -> Response:
    """Return the answer that a problem is, and count it."""
    PROBLEMS.labels(problem.code).inc()
    headers = dict(problem.headers)
    if problem.meaning.retry_after_seconds is not None:
        headers["retry-after"] = str(problem.meaning.retry_after_seconds)
    if problem.code is Code.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(
        problem.body(), problem.meaning.status, headers, media_type="application/problem+json"
    )


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 (for types)
    return respond(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (for types)
    faults = [Fault(str(one["loc"][-1]), str(one["msg"])) for one in error.errors()]
    return respond(invalid(*faults))


async def _http_problem(_request: Request, error: Exception) -> Response:
    """Give FastAPI's own refusals the shape that all others have."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = {name.lower(): value for name, value in (getattr(error, "headers", None) or {}).items()}
        if "GET" in allowed.get("allow", "").split(", "):
            allowed["allow"] += ", HEAD"
        return respond(
            Problem(Code.METHOD_NOT_ALLOWED, "this route does not take the method", headers=allowed)
        )
    if status == HTTPStatus.NOT_FOUND:
        return respond(Problem(Code.NOT_FOUND, "there is no such route; /docs shows all of them"))
    return respond(invalid(Fault("", str(getattr(error, "detail", error)))))


async def _failed(_request: Request, _error: Exception) -> Response:
    """Answer for what nobody foresaw; the server logs the error itself."""
    return respond(Problem(Code.INTERNAL_ERROR, "Afterword failed to answer; its log says why"))
