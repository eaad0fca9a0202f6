"""Templates become pages: with headers that keep a page to itself, and nothing from another host."""

import re
import time
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.query.dashboard.assets import address
from services.query.dashboard.core import formatting
from services.query.dashboard.core.conversation import conversation, others

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
    """Return a template of `templates/` as a page."""
    template = _environment().get_template(name)
    surroundings = _surroundings(request)
    text = rooted(template.render(**surroundings, **values), surroundings["root"])
    # A NUL, which JSON text may hold, is no character of HTML.
    return HTMLResponse(text.replace("\0", "\ufffd"), status, dict(HEADERS))


def rooted(text: str, root: str) -> str:
    """Return a page whose addresses begin with the path prefix `root` of this service.

    Templates, and what makes links for them, know nothing of it.  Text of others has no quotation marks
    that are not escaped, so it has no addresses.
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
