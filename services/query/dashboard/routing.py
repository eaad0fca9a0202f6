"""Routes of pages: the reader, the parameters of a page's address, redirects, and problems as pages."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.status import HTTP_303_SEE_OTHER

from services.query.api.params import params_of
from services.query.core.problems import ProblemCode, QueryProblem
from services.query.dashboard.core.forms import FIELDS, canonical
from services.query.dashboard.render import HEADERS, page
from services.query.metrics import PROBLEMS
from services.query.reads.core.filters import Filters
from services.runtime.http.keys import Caller

if TYPE_CHECKING:
    from services.query.service import QueryService


class RedirectTo(Exception):  # noqa: N818 (the answer, not an error)
    """Raised to redirect to another address."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


def page_router() -> APIRouter:
    """Return a router for pages: a QueryProblem becomes a page, or a redirect to the sign-in."""
    return APIRouter(route_class=_PageRoute, include_in_schema=False)


def redirect(address: str) -> Response:
    """Return a redirect to another page."""
    return RedirectResponse(address, HTTP_303_SEE_OTHER, HEADERS)


def _reader(request: Request) -> Caller:
    service: QueryService = request.app.state.service
    caller = service.access.reader(request)
    request.state.reader = caller
    return caller


PageReader = Annotated[Caller, Depends(_reader)]
"""The authenticated caller; a page shows rows of `reader.tenant`."""


class _PageRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with problems as pages."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response: Response = await inner(request)
            except RedirectTo as elsewhere:
                return redirect(elsewhere.address)
            except QueryProblem as problem:
                return _shown(request, problem)
            return response

        return handler


def _shown(request: Request, problem: QueryProblem) -> Response:
    if problem.code is ProblemCode.UNAUTHENTICATED and request.method == "GET":
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return redirect(f"/sign-in?{urlencode({'next': asked})}" if asked != "/" else "/sign-in")
    PROBLEMS.labels(problem.code).inc()
    answer = page(request, "problem.html", status=problem.meaning.status, problem=problem)
    if problem.meaning.retry_after_seconds is not None:
        answer.headers["retry-after"] = str(problem.meaning.retry_after_seconds)
    return answer


@dataclass(frozen=True)
class PageParams:
    """The filters of a page's address, and those of the page's own parameters that were given."""

    filters: Filters
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """The page's own parameters that are kept when filters change; the cursor is not."""
        return [(name, value) for name, value in self.extra.items() if name != "cursor"]


def page_params(*allowed: str) -> Callable[[Request], PageParams]:
    """Return a dependency that reads filters and these parameters; it redirects forms to short addresses."""

    def dependency(request: Request) -> PageParams:
        with params_of(request, allowed=(*allowed, *FIELDS), form=True) as asking:
            short = canonical(asking.sent)
            filters = asking.filters()
            extra = {name: asking.text(name) for name in allowed}
        if short != asking.sent:
            raise RedirectTo(f"{request.url.path}?{urlencode(short)}" if short else request.url.path)
        return PageParams(filters, {name: value for name, value in extra.items() if value})

    return dependency


FilterParams = Annotated[PageParams, Depends(page_params())]
"""The filters of a page without parameters of its own."""
