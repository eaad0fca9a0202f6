"""A dashboard with keys, over the stack that runs for the whole run: an ingest and a query of its own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import httpx
import pytest
from playwright.async_api import Page

from services.local.ports import free_port
from services.local.processes import python_module
from services.operations.keys import create_key
from services.runtime.http.keys import Scope
from tests.support.stack.restartable import Program
from tests.support.stack.whole_stack import WholeStack

TENANTS = (
    "read-only",
    "story-light",
    "story-dark",
    "changing",
    "paused",
    "hostile",
    "north",
    "south",
    "empty",
)
"""Tenants with keys.  Tests that change nothing share `read-only`."""


@dataclass(frozen=True)
class Tenant:
    """A tenant with a key that may do everything but erase."""

    name: str
    key: str
    ingest_url: str
    query_url: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers that show the key."""
        return {"authorization": f"Bearer {self.key}"}

    async def say(self, request_id: str, data: dict[str, Any], request: dict[str, Any] | None = None) -> None:
        """Send feedback, and facts of the request if there are any; return once it can be read."""
        event = {"request_id": request_id, "data": data} | ({"request": request} if request else {})
        async with httpx.AsyncClient(headers=self.headers, timeout=60) as client:
            answer = await client.post(f"{self.ingest_url}/v1/events", json=event)
            assert answer.status_code == 202, answer.text
            wait = {"min_version": answer.json()["version"], "wait": "30s"}
            url = f"{self.query_url}/v1/feedback/{quote(request_id, safe='')}"
            answer = await client.get(url, params=wait)
            assert answer.json()["outcome"] == "merged", answer.text

    async def say_all(self, *said: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
        """Say something about several requests at once."""
        await asyncio.gather(*(self.say(*one) for one in said))

    async def sign_in(self, page: Page) -> None:
        """Sign a window in, by the form."""
        await page.goto("/sign-in")
        await page.get_by_label("Key").fill(self.key)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/")


class Dashboard:
    """Ingest and query in front of a stack, with a key file."""

    def __init__(self, stack: WholeStack, directory: Path) -> None:
        self.stack = stack
        self.keys = directory / "keys.toml"
        self.ports = {"ingest": free_port(), "query": free_port()}
        self._environ = {
            **stack.environ,
            "AFTERWORD_KEYS_FILE": str(self.keys),
            "INGEST_PORT": str(self.ports["ingest"]),
            "QUERY_PORT": str(self.ports["query"]),
            "QUERY_INGEST_URL": self.url("ingest"),
            "QUERY_LIVE_SECONDS": "0.2",
        }
        # Before the start: running services read a changed file within a second.
        self._tenants = {name: self._new_tenant(name) for name in TENANTS}
        self._programs = [self._program(part, directory / f"{part}.log") for part in self.ports]

    def url(self, part: str = "query") -> str:
        """Where a part answers."""
        return f"http://127.0.0.1:{self.ports[part]}"

    def tenant(self, name: str) -> Tenant:
        """Return one of TENANTS."""
        return self._tenants[name]

    def _new_tenant(self, name: str) -> Tenant:
        key = create_key(self.keys, tenant=name, scopes=(Scope.READ, Scope.WRITE)).key
        return Tenant(name, key, self.url("ingest"), self.url())

    def _program(self, part: str, log: Path) -> Program:
        command = python_module(f"services.{part}", environment=self._environ)
        return Program(lambda: command, lambda: asyncio.to_thread(_is_ready, self.url(part)), log)

    async def start(self) -> None:
        """Start both."""
        await asyncio.gather(*(program.start() for program in self._programs))

    async def stop(self) -> list[int | None]:
        """Stop both; their exit codes."""
        return list(await asyncio.gather(*(program.stop() for program in self._programs)))


@pytest.fixture(scope="session")
async def dashboard(
    whole_stack: WholeStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Dashboard]:
    """A dashboard that asks for keys, for the whole run: take a tenant that no other test takes."""
    dashboard = Dashboard(whole_stack, tmp_path_factory.mktemp("dashboard"))
    await dashboard.start()
    yield dashboard
    assert await dashboard.stop() == [0, 0]


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
