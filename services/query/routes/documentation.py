"""`/docs`: the API's own page, whose files come from an installed package."""

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)
router.mount("/docs/assets", StaticFiles(packages=[("fastapi_offline", "static")]), "assets")

CONTENT_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'"
)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Return the page; nothing of it comes from, or goes to, another host."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Afterword query",
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="docs/assets/favicon.png",
    )
    page.headers["content-security-policy"] = CONTENT_POLICY
    return page
