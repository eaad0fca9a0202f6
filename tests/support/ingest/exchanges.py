"""Recorded exchanges of real clients, one a line in `tests/contract/ingest/clients/vectors`."""

import gzip
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson

VECTORS = Path(__file__).parents[2] / "contract" / "ingest" / "clients" / "vectors"
CREDENTIALS = ("authorization", "x-portkey-api-key", "helicone-auth", "x-api-key")


class Exchange(NamedTuple):
    """A request as a client sent it, and the answer that it needs."""

    client: str
    call: str
    method: str
    path: str
    headers: dict[str, str]
    body: str | bytes
    needed_status: int
    needed_body: Any

    @property
    def value(self) -> Any:
        """The body, decoded."""
        return orjson.loads(self.body)

    async def play(self, client: httpx.AsyncClient, prefix: str = "", **replaced: Any) -> httpx.Response:
        """Send the request, without the recorded credentials; `replaced` may have another path or body."""
        headers = {name: value for name, value in self.headers.items() if name not in CREDENTIALS}
        path, body = replaced.get("path", self.path), replaced.get("body", self.body)
        return await client.request(self.method, prefix + path, content=body, headers=headers)


def exchanges(system: str) -> list[Exchange]:
    """Return the exchanges of a system's clients, in the order of recording."""
    return [_exchange(orjson.loads(line)) for line in (VECTORS / f"{system}.jsonl").read_bytes().splitlines()]


def _exchange(recorded: dict[str, Any]) -> Exchange:
    request, needed = recorded["request"], recorded["needed_response"]
    return Exchange(
        recorded["client"],
        recorded["call"],
        request["method"],
        request["path"],
        request["headers"],
        request["body"] if "body" in request else _binary(request),
        needed["status"],
        needed.get("body"),
    )


def _binary(request: dict[str, Any]) -> bytes:
    """Return a body as it was on the wire."""
    body = b64decode(request["body_base64"])
    return gzip.compress(body) if request["headers"].get("content-encoding") == "gzip" else body
