"""ClickHouse's HTTP interface as a test sees it: raw requests, and whose server answers them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import clickhouse_connect
import httpx
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.httpclient import HttpClient

from services.runtime.settings import ClickHouseSettings


@dataclass(frozen=True)
class Face:
    """A server that speaks ClickHouse's HTTP interface."""

    settings: ClickHouseSettings
    raw: httpx.AsyncClient

    @property
    def _where(self) -> dict[str, Any]:
        url = httpx.URL(self.settings.clickhouse_url)
        password = self.settings.clickhouse_password.get_secret_value()
        return {
            "host": url.host,
            "port": url.port,
            "username": self.settings.clickhouse_user,
            "password": password,
        }

    async def ask(
        self,
        query: str | None = None,
        body: Any = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        **params: object,
    ) -> httpx.Response:
        """Send one request, with the query in the address."""
        given = {"query": query, **params} if query is not None else params
        address = {name: str(value) for name, value in given.items()}
        return await self.raw.request(method, "/", params=address, content=body, headers=headers)

    async def value(self, query: str) -> str:
        """Return the single value of a query that must succeed."""
        answer = await self.ask(body=query)
        assert answer.status_code == 200, answer.text
        return answer.text.rstrip("\n")

    def sync_client(self, **options: Any) -> HttpClient:
        """Return clickhouse-connect's synchronous client."""
        client = clickhouse_connect.get_client(**{**self._where, "autogenerate_session_id": False, **options})
        assert isinstance(client, HttpClient)
        return client

    async def async_client(self, **options: Any) -> AsyncClient:
        """Return clickhouse-connect's asynchronous client."""
        return await clickhouse_connect.get_async_client(**{**self._where, **options})


@asynccontextmanager
async def face(settings: ClickHouseSettings) -> AsyncIterator[Face]:
    """Give the block a face of a running server."""
    headers = {
        "X-ClickHouse-User": settings.clickhouse_user,
        "X-ClickHouse-Key": settings.clickhouse_password.get_secret_value(),
    }
    async with httpx.AsyncClient(base_url=settings.clickhouse_url, headers=headers, timeout=60) as raw:
        yield Face(settings, raw)


def code_of(answer: httpx.Response) -> int:
    """Return the error code of a failed answer; its text has it too."""
    code = int(answer.headers["X-ClickHouse-Exception-Code"])
    assert f"Code: {code}. DB::Exception: " in answer.text
    return code
