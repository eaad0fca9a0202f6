"""A real browser, one for the whole run, and pages that are watched for what must never happen."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 20_000
"""A bound for a machine that is slow, not an expectation."""
PHONE = (390, 844)


def executable() -> str:
    """Return the path of a browser.  Without one the test is skipped, or fails where one is required."""
    named = os.environ.get("AFTERWORD_BROWSER")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is not None:
        return found
    if os.environ.get("CI") or os.environ.get("AFTERWORD_REQUIRE_BROWSER"):
        pytest.fail("there is no browser: scripts/browser.sh says how to get one")
    pytest.skip("there is no browser: scripts/browser.sh says how to get one")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium for the whole run: open windows of your own with `window`."""
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=list(ARGUMENTS))
        yield browser
        await browser.close()


@dataclass
class Watched:
    """What went wrong in a window, in words."""

    host: str
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Parts of faults that the test is about."""

    def watch(self, context: BrowserContext) -> None:
        """Note errors of scripts, of the Content-Security-Policy, and requests to another host."""
        context.on("console", lambda message: self._hear(message.type, message.text))
        context.on("weberror", lambda error: self._note(str(error.error)))
        context.on("request", lambda request: self._look(request.url))

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error":
            self._note(text)

    def _look(self, url: str) -> None:
        if urlsplit(url).netloc != self.host:
            self._note(f"a request to {url}")

    def _note(self, fault: str) -> None:
        if not any(part in fault for part in self.expected):
            self.faults.append(fault)


@asynccontextmanager
async def window(
    browser: Browser,
    url: str,
    *,
    theme: str = "light",
    size: tuple[int, int] = (1280, 800),
    expected: tuple[str, ...] = (),
    **options: Any,
) -> AsyncIterator[Page]:
    """Open a window with cookies of its own at a site; nothing may go wrong in it but what is expected."""
    width, height = size
    context = await browser.new_context(
        base_url=url,
        color_scheme=theme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        **options,
    )
    context.set_default_timeout(PATIENCE_MS)
    watched = Watched(urlsplit(url).netloc, expected=expected)
    watched.watch(context)
    try:
        yield await context.new_page()
        assert watched.faults == []
    finally:
        await context.close()


async def overflow(page: Page) -> int:
    """Return how many pixels a page is wider than its window."""
    return int(
        await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )
