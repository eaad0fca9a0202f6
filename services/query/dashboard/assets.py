"""The dashboard's own files, under a path that changes with their content, so that they are kept for ever."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from mimetypes import guess_type
from typing import NamedTuple

from fastapi import APIRouter, Response

from services.query.core.problems import Code, Problem

FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


class Asset(NamedTuple):
    """One file."""

    content: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Return all files by name; they are small, and stay in memory."""
    return {
        path.name: Asset(path.read_bytes(), guess_type(path.name)[0] or "application/octet-stream")
        for path in files("services.query.dashboard").joinpath("static").iterdir()
        if path.is_file()
    }


@cache
def edition() -> str:
    """Return a name for the content of all files together."""
    digest = sha256()
    for name, asset in sorted(assets().items()):
        digest.update(b"%s %d " % (name.encode(), len(asset.content)) + asset.content)
    return digest.hexdigest()[:16]


def address(name: str) -> str:
    """Return where a file is; KeyError if there is none of that name."""
    assets()[name]
    return f"/static/{edition()}/{name}"


@router.get("/static/{edition_asked}/{name}")
async def file(edition_asked: str, name: str) -> Response:
    """Return a file.  A page of another edition gets today's, once."""
    found = assets().get(name)
    if found is None:
        raise Problem(Code.NOT_FOUND, "there is no such file")
    headers = {
        "cache-control": FOR_EVER if edition_asked == edition() else "no-cache",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    return Response(found.content, media_type=found.media_type, headers=headers)
