"""The ASGI application: routes, proxies' headers and path prefixes, and errors as problem+json."""

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
from services.query.core.problems import ParamFault, ProblemCode, QueryProblem, invalid
from services.query.metrics import PROBLEMS
from services.query.middleware import READING, attended, measured
from services.query.service import QueryService
from services.runtime.http.core.proxies import Proxies, inner_path
from services.runtime.http.health import Health, probe_app
from services.runtime.http.server import lifespan

PROBES = (b"/livez", b"/readyz", b"/metrics")

DESCRIPTION = """Reads back what Afterword has stored: the latest state of each request, its history,
statistics, exports, and how far everything is stored.

Rows are those of the key's tenant.  All routes are read-only except erasures, which need a key with the
scope `admin`.  Every error is `application/problem+json` with
a stable `code`.
"""


class QueryApp(FastAPI):
    """Routes by the raw path, so that an id may contain any character, `/` as `%2F`."""

    def __init__(self, service: QueryService) -> None:
        super().__init__(
            title="Afterword query",
            version="1",
            description=DESCRIPTION,
            lifespan=lifespan(service),
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            exception_handlers={
                QueryProblem: _problem,
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
        """The liveness and readiness checks of this process."""
        service: QueryService = self.state.service
        return service.health

    def stopping(self) -> None:
        """End live pages and waits, which could otherwise outlast the shutdown; clients reconnect."""
        self.state.service.live.close()
        self.state.service.positions.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle an HTTP request, or the lifespan of the server."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        scope, send = self._inner(scope), _with_root_in_redirects(send, self._root)
        try:
            self._check(scope)
        except QueryProblem as problem:
            await respond(problem)(scope, receive, send)
            return
        if scope["raw_path"] in PROBES:
            await self._probes(scope, receive, send)
            return
        answering = partial(attended, super().__call__, is_head=is_head)
        with suppress(ClientDisconnect):
            await measured(answering, scope, receive, send)

    def _inner(self, scope: Any) -> Any:
        """Return the scope as the client sent it, with a normalised path.

        Headers of trusted proxies are applied and the root path is stripped.  A trailing slash is removed;
        one that belongs to an id is `%2F`.  HEAD becomes GET, whose body is dropped later.
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
        """Return the OpenAPI document; it is built on first use."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
            if self._root:
                self.openapi_schema["servers"] = [{"url": self._root.decode()}]
        return self.openapi_schema

    def _check(self, scope: Any) -> None:
        """Raise QueryProblem for requests that every route refuses."""
        service: QueryService = self.state.service
        service.access.check_place(Request(scope))
        if scope["raw_path"] in PROBES and scope["method"] not in READING:
            detail = f"this route takes {', '.join(READING)}"
            raise QueryProblem(ProblemCode.METHOD_NOT_ALLOWED, detail, headers={"allow": ", ".join(READING)})


def _with_root_in_redirects(send: Any, root: bytes) -> Any:
    """Return a `send` that adds the root path to redirects to our own paths."""
    if not root:
        return send

    async def rewritten(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name, root + value) if name == b"location" and value.startswith(b"/") else (name, value)
                for name, value in message["headers"]
            ]
            message = {**message, "headers": headers}
        await send(message)

    return rewritten


def respond(problem: QueryProblem) -> Response:
    """Return the response to a problem, and count it."""
    PROBLEMS.labels(problem.code).inc()
    headers = dict(problem.headers)
    if problem.meaning.retry_after_seconds is not None:
        headers["retry-after"] = str(problem.meaning.retry_after_seconds)
    if problem.code is ProblemCode.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(
        problem.body(), problem.meaning.status, headers, media_type="application/problem+json"
    )


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, QueryProblem)  # noqa: S101 (for types)
    return respond(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (for types)
    faults = [ParamFault(str(one["loc"][-1]), str(one["msg"])) for one in error.errors()]
    return respond(invalid(*faults))


async def _http_problem(_request: Request, error: Exception) -> Response:
    """Convert FastAPI's own errors to problem+json."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = {name.lower(): value for name, value in (getattr(error, "headers", None) or {}).items()}
        if "GET" in allowed.get("allow", "").split(", "):
            allowed["allow"] += ", HEAD"
        return respond(
            QueryProblem(
                ProblemCode.METHOD_NOT_ALLOWED, "this route does not take the method", headers=allowed
            )
        )
    if status == HTTPStatus.NOT_FOUND:
        return respond(QueryProblem(ProblemCode.NOT_FOUND, "there is no such route; /docs shows all of them"))
    return respond(invalid(ParamFault("", str(getattr(error, "detail", error)))))


async def _failed(_request: Request, _error: Exception) -> Response:
    """Answer 500 to an unexpected error, which the server logs."""
    return respond(QueryProblem(ProblemCode.INTERNAL_ERROR, "Afterword failed to answer; its log says why"))
