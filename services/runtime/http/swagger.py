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


def page(title: str, root: str) -> HTMLResponse:
    """Return the page of a service that is published under the path prefix `root`."""
    answer = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=title,
        swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
    )
    answer.headers["content-security-policy"] = CONTENT_POLICY
    return answer
