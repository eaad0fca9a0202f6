"""Post events to ingest over HTTP."""

from typing import Any

import httpx

from services.operations.destination import is_here, shown
from services.operations.send.core.answers import Again, Refused, Settled, meaning_of
from services.operations.send.core.plan import LANES, Batch

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0


def client_for(url: str, key: str | None) -> httpx.AsyncClient:
    """Return a client of the ingest at `url`; a proxy of the environment is not for this machine's own."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=2 * LANES),
        trust_env=not is_here(url),
    )


async def answer_to(
    client: httpx.AsyncClient, method: str, path: str, *, idempotency_key: str, **content: Any
) -> httpx.Response | Again:
    """Return the answer to a request; without one nobody knows whether it was taken, so: again."""
    try:
        request = client.build_request(method, path, **content)
        request.headers["Idempotency-Key"] = idempotency_key
        return await client.send(request)
    except httpx.ConnectError as error:
        return Again(f"nothing answers at {shown(str(client.base_url))} ({error})", reached=False)
    except httpx.TransportError as error:
        return Again(f"no answer from {shown(str(client.base_url))} ({str(error) or type(error).__name__})")


class HttpPost:
    """Posts batches, as NDJSON, through one client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def __call__(self, key: str, batch: Batch) -> Settled | Again | Refused:
        """Return what the answer means."""
        answer = await answer_to(
            self._client,
            "POST",
            "/v1/events",
            idempotency_key=key,
            content=batch.body,
            headers={"Content-Type": "application/x-ndjson"},
        )
        if isinstance(answer, Again):
            return answer
        retry_after = answer.headers.get("Retry-After")
        return meaning_of(answer.status_code, retry_after, answer.content, len(batch.entries))
