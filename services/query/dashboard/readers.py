"""Who looks at a page, and what they see when it cannot be shown."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.status import HTTP_303_SEE_OTHER

from services.query.core.problems import Code, Problem
from services.query.dashboard.render import HEADERS, page
from services.query.metrics import PROBLEMS
from services.runtime.http.keys import Caller

if TYPE_CHECKING:
    from services.query.service import Service


class Elsewhere(Exception):  # noqa: N818 (the answer, not an error)
    """A page is at another address."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


def page_router() -> APIRouter:
    """Return a router for pages: a Problem becomes a page, and who has to sign in is led there."""
    return APIRouter(route_class=_PageRoute, include_in_schema=False)


def redirect(address: str) -> Response:
    """Return the answer that leads to another address of ours."""
    return RedirectResponse(address, HTTP_303_SEE_OTHER, HEADERS)


def _reader(request: Request) -> Caller:
    service: Service = request.app.state.service
    caller = service.access.reader(request)
    request.state.reader = caller
    return caller


PageReader = Annotated[Caller, Depends(_reader)]
"""Whose rows a page shows: `reader.tenant`."""


class _PageRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with problems shown to people."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response: Response = await inner(request)
            except Elsewhere as elsewhere:
                return redirect(elsewhere.address)
            except Problem as problem:
                return _shown(request, problem)
            return response

        return handler


def _shown(request: Request, problem: Problem) -> Response:
    if problem.code is Code.UNAUTHENTICATED and request.method == "GET":
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return redirect(f"/sign-in?{urlencode({'next': asked})}" if asked != "/" else "/sign-in")
    PROBLEMS.labels(problem.code).inc()
    answer = page(request, "problem.html", status=problem.meaning.status, problem=problem)
    if problem.meaning.retry_after_seconds is not None:
        answer.headers["retry-after"] = str(problem.meaning.retry_after_seconds)
    return answer
