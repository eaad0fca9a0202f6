"""Renders templates as pages with strict headers, and serves the static files."""

import re
import time
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from mimetypes import guess_type
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.query.core.problems import ProblemCode, QueryProblem
from services.query.dashboard.core import formatting
from services.query.dashboard.core.request_details import conversation, others

FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


class Asset(NamedTuple):
    """A static file."""

    content: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Return all files by name; they are small and stay in memory."""
    return {
        path.name: Asset(path.read_bytes(), guess_type(path.name)[0] or "application/octet-stream")
        for path in files("services.query.dashboard").joinpath("static").iterdir()
        if path.is_file()
    }


@cache
def edition() -> str:
    """Return a hash of the content of all files, which is part of their paths."""
    digest = sha256()
    for name, asset in sorted(assets().items()):
        digest.update(b"%s %d " % (name.encode(), len(asset.content)) + asset.content)
    return digest.hexdigest()[:16]


def address(name: str) -> str:
    """Return the path of a file; KeyError if there is none."""
    assets()[name]
    return f"/static/{edition()}/{name}"


@router.get("/static/{edition_asked}/{name}")
async def file(edition_asked: str, name: str) -> Response:
    """Return a file.  A path of another edition gets the current file, uncached."""
    found = assets().get(name)
    if found is None:
        raise QueryProblem(ProblemCode.NOT_FOUND, "there is no such file")
    headers = {
        "cache-control": FOR_EVER if edition_asked == edition() else "no-cache",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    return Response(found.content, media_type=found.media_type, headers=headers)


THEME_COOKIE = "afterword_theme"
THEMES = ("light", "dark")

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
CONTENT_POLICY = "; ".join(f"{name} {value}" for name, value in _POLICY.items())

HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    # Not no-referrer: browsers would then send `Origin: null` with a form.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

NAVIGATION = (
    ("/", "Requests"),
    ("/insights", "Insights"),
    ("/comments", "Comments"),
    ("/dead-letters", "Dead letters"),
    ("/pipeline", "Pipeline"),
)

FILTERS = (
    conversation,
    formatting.count,
    formatting.dollars,
    formatting.exact,
    formatting.key,
    formatting.milliseconds,
    formatting.number,
    others,
    formatting.percent,
    formatting.plain,
    formatting.pretty,
    formatting.request_href,
    formatting.shortened,
    formatting.vote_name,
    formatting.vote_sign,
    formatting.with_filters,
    formatting.with_parameters,
)


_ADDRESS = re.compile(r' (href|src|action)="/(?!/)')


def page(request: Request, name: str, *, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """Render a template of `templates/`."""
    template = _environment().get_template(name)
    surroundings = _surroundings(request)
    text = rooted(template.render(**surroundings, **values), surroundings["root"])
    # JSON text may contain NUL, which HTML does not allow.
    return HTMLResponse(text.replace("\0", "\ufffd"), status, dict(HEADERS))


def rooted(text: str, root: str) -> str:
    """Return a page with the path prefix `root` in front of its links.

    Templates and link functions do not know the prefix.  In text of users quotation marks are escaped, so it
    never matches.
    """
    return _ADDRESS.sub(rf' \1="{root}/', text) if root else text


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("services.query.dashboard", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in FILTERS}
    environment.filters["ago"] = _ago
    environment.globals["asset"] = address
    environment.globals["NAVIGATION"] = NAVIGATION
    return environment


def _ago(then: str | datetime) -> str:
    return formatting.ago(then, _now())


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _surroundings(request: Request) -> dict[str, Any]:
    reader = getattr(request.state, "reader", None)
    theme = request.cookies.get(THEME_COOKIE, "")
    return {
        "path": request.url.path,
        "now": _now(),
        "theme": theme if theme in THEMES else "",
        "tenant": reader.tenant if reader else "",
        "is_open": request.app.state.service.access.is_open,
        "root": request.app.state.service.settings.query_root_path,
    }
