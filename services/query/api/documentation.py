"""`/docs`: the API's own page, whose files come from an installed package."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from services.runtime.http import swagger

router = APIRouter(include_in_schema=False)
router.mount(swagger.ASSETS, swagger.assets(), "assets")


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Return the page; nothing of it comes from, or goes to, another host."""
    return swagger.page("Afterword query", request.app.state.service.settings.query_root_path)
