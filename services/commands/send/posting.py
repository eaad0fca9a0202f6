"""Post a batch to ingest over HTTP."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from services.commands.send.answers import Again, Refused, Settled, meaning_of
from services.commands.send.plan import LANES, Batch

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def headers_for(key: str | None) -> Mapping[str, str]:
    """Return the headers that say who sends."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def client_for(url: str, key: str | None) -> httpx.AsyncClient:
    """Return a client of the ingest at `url`; a proxy of the environment is not for this machine's own."""
    return httpx.AsyncClient(
        base_url=url,
        headers=headers_for(key),
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=2 * LANES),
        trust_env=urlsplit(url).hostname not in _LOOPBACK,
    )


class HttpPost:
    """Posts batches, as NDJSON, through one client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def __call__(self, key: str, batch: Batch) -> Settled | Again | Refused:
        """Return what the answer means; no answer means that nobody knows, so: again."""
        try:
            answer = await self._client.post(
                "/v1/events",
                content=batch.body,
                headers={"Content-Type": "application/x-ndjson", "Idempotency-Key": key},
            )
        except httpx.ConnectError as error:
            return Again(f"nothing answers at {self._client.base_url} ({error})", reached=False)
        except httpx.TransportError as error:
            return Again(f"no answer from {self._client.base_url} ({str(error) or type(error).__name__})")
        return meaning_of(
            answer.status_code, answer.headers.get("Retry-After"), answer.content, len(batch.entries)
        )
