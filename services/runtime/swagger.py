"""`/docs`: an API's own page, whose files come from an installed package."""

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

ASSETS = "/docs/assets"
"""Where `assets` have to be for the page to find them."""

CONTENT_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'"
)
"""Nothing of the page comes from, or goes to, another host."""


def assets() -> StaticFiles:
    """Return the application that serves the page's files."""
    return StaticFiles(packages=[("fastapi_offline", "static")])


def page(title: str) -> HTMLResponse:
    """Return the page, which reads `openapi.json` beside it."""
    answer = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="docs/assets/favicon.png",
    )
    answer.headers["content-security-policy"] = CONTENT_POLICY
    return answer
