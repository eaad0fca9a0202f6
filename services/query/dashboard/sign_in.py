"""`/sign-in` exchanges a key for a session cookie; `/sign-out` deletes it."""

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import structlog
from fastapi import Form, Query, Request, Response

from services.query.core.problems import ProblemCode, QueryProblem
from services.query.core.sessions import COOKIE, is_same_origin, local
from services.query.dashboard.render import page
from services.query.dashboard.routing import page_router, redirect
from services.runtime.http.core.proxies import limited

if TYPE_CHECKING:
    from services.query.service import QueryService

log = structlog.get_logger()

router = page_router()

_WRONG = "This key is unknown or was revoked."
_MAY_NOT = "This key does not have the scope “read”."


@router.get("/sign-in")
async def form(request: Request, wanted: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Show the form; without a key file, redirect, as no sign-in is needed."""
    service: QueryService = request.app.state.service
    service.access.check_place(request)
    if service.access.is_open:
        return redirect(local(wanted))
    return page(request, "sign_in.html", wanted=local(wanted), complaint="")


@router.post("/sign-in")
async def sign_in(
    request: Request, key: Annotated[str, Form()] = "", wanted: Annotated[str, Form(alias="next")] = "/"
) -> Response:
    """Check the key, and redirect with a session cookie, or show the error.

    A valid key is accepted after any number of failures from its address: behind a proxy that does not
    forward addresses, all clients share one.
    """
    _check_origin(request)
    service: QueryService = request.app.state.service
    try:
        token = service.access.sign_in(key)
    except QueryProblem as problem:
        client = request.client.host if request.client else ""
        wait = service.attempts.failed(limited(client), time.monotonic())
        if wait > 0:
            return _again(request, wanted, f"Too many attempts. Wait {wait:.0f} seconds.", wait)
        log.info("sign-in refused", client=client, code=problem.code)
        return _again(request, wanted, _MAY_NOT if problem.code is ProblemCode.FORBIDDEN else _WRONG)
    answer = redirect(local(wanted))
    answer.set_cookie(
        COOKIE,
        token,
        max_age=int(service.settings.query_session_seconds),
        httponly=True,
        samesite="lax",
        path=_cookie_path(service),
        secure=service.settings.query_secure_cookie or request.url.scheme == "https",
    )
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Delete the cookie."""
    _check_origin(request)
    answer = redirect("/sign-in")
    service: QueryService = request.app.state.service
    answer.delete_cookie(COOKIE, path=_cookie_path(service), httponly=True, samesite="lax")
    return answer


def _cookie_path(service: "QueryService") -> str:
    return service.settings.query_root_path or "/"


def _check_origin(request: Request) -> None:
    if not is_same_origin(request.headers):
        raise QueryProblem(ProblemCode.FORBIDDEN, "this form came from another site")


def _again(request: Request, wanted: str, complaint: str, wait: float = 0) -> Response:
    status = HTTPStatus.TOO_MANY_REQUESTS if wait else HTTPStatus.UNAUTHORIZED
    answer = page(request, "sign_in.html", status=status, wanted=local(wanted), complaint=complaint)
    if wait:
        answer.headers["retry-after"] = f"{wait:.0f}"
    return answer
