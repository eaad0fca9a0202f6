"""`/v1/feedback`: the rows, one by one and in pages."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Path, Request

router = APIRouter(tags=["feedback"])


def _request_id(request_id: Annotated[str, Path()]) -> str:
    """Return the id that a raw path names."""
    return unquote(request_id)


RequestId = Annotated[str, Depends(_request_id)]


def parameters(request: Request) -> list[tuple[str, str]]:
    """Return all parameters of a question, in order."""
    return request.query_params.multi_items()
