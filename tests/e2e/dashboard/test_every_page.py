"""What must never happen on any page: another tenant's values, text that acts, a page that is too wide."""

import asyncio
import re
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, expect

from services.query.dashboard.render import NAVIGATION
from tests.support.http.browser import PHONE, overflow, window
from tests.support.query.dashboard import Dashboard, Tenant

ATTACK = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
TEXTS = (
    ATTACK,
    '"><svg onload="window.hacked = 3"> {{ 7 * 7 }}',
    "مرحبا، الإجابة خاطئة تماما ולא נכון",
    "Donaudampfschifffahrtsgesellschaftskapitän" * 20,
    "👩‍👩‍👧‍👦🏳️‍🌈" * 40,
)
ID = f"id/{ATTACK[:60]} \u202eabc 👍"


async def fill(tenant: Tenant) -> None:
    """Say hostile things wherever text goes."""
    said = [
        (
            f"{ID} {number}",
            {
                "rating": "negative",
                "comment": text,
                "tags": [text[:200], "b"],
                text[:250]: text,
                "user_id": text,
            },
            {"model": text[:200], "provider": text, "latency_ms": 5, "prompt": text, "response": {"x": text}},
        )
        for number, text in enumerate(TEXTS)
    ]
    await tenant.say_all(*said)


@pytest.fixture(scope="module")
async def hostile(dashboard: Dashboard) -> Tenant:
    """A tenant whose users mean no good."""
    tenant = dashboard.tenant("hostile")
    await fill(tenant)
    return tenant


def paths() -> list[str]:
    """Return the address of every page."""
    request = f"/requests/{quote(f'{ID} 0', safe='')}"
    return [*(path for path, _ in NAVIGATION), request, "/?q=nothing", f"/?tag={quote(ATTACK)}"]


async def open_everything(page: Page) -> None:
    """Open every detail of a page."""
    await page.evaluate(
        "document.querySelectorAll('details').forEach(one => one.open = true);"
        "document.querySelectorAll('[data-opens]').forEach(one => one.click())"
    )


async def test_no_text_acts_and_no_page_is_wider_than_a_phone(browser: Browser, hostile: Tenant) -> None:
    """On every page, with everything open."""
    async with window(browser, hostile.query_url, size=PHONE) as page:
        await page.goto("/sign-in")
        assert await overflow(page) == 0
        await hostile.sign_in(page)
        for path in paths():
            await page.goto(path)
            assert await overflow(page) == 0, path
            await open_everything(page)
            assert await overflow(page) == 0, path
            assert await page.evaluate("window.hacked") is None, path


async def test_hostile_text_is_shown_as_it_was_written(browser: Browser, hostile: Tenant) -> None:
    """All of it, on the page of its request."""
    async with window(browser, hostile.query_url) as page:
        await hostile.sign_in(page)
        for number, text in enumerate(TEXTS):
            await page.goto(f"/requests/{quote(f'{ID} {number}', safe='')}")
            await expect(page.locator("h1")).to_have_text(f"{ID} {number}")
            assert await page.locator(".quote").text_content() == text
            assert await overflow(page) == 0


async def test_an_empty_dashboard_fits_a_phone(browser: Browser, dashboard: Dashboard) -> None:
    """And its first page says what to do next."""
    tenant = dashboard.tenant("empty")
    async with window(browser, dashboard.url(), size=PHONE) as page:
        await tenant.sign_in(page)
        await expect(page.locator("#curl-line")).to_contain_text(
            f"curl -sS {dashboard.url('ingest')}/feedback/"
        )
        for path, _ in NAVIGATION:
            await page.goto(path)
            assert await overflow(page) == 0, path


async def test_two_tenants_never_see_each_other(browser: Browser, dashboard: Dashboard) -> None:
    """The same request id in two windows: each shows its own, also when both change while they look."""
    north, south = dashboard.tenant("north"), dashboard.tenant("south")
    await asyncio.gather(
        north.say("same", {"comment": "north wind", "tags": ["snow"]}, {"model": "polar"}),
        south.say("same", {"comment": "south wind", "tags": ["sand"]}, {"model": "desert"}),
    )
    async with (
        window(browser, dashboard.url()) as northern,
        window(browser, dashboard.url()) as southern,
    ):
        await north.sign_in(northern)
        await south.sign_in(southern)
        await northern.goto("/requests/same")
        await expect(northern.locator("#live-switch")).to_have_attribute("data-state", "live")
        await asyncio.gather(
            north.say("same", {"comment": "north storm"}), south.say("same", {"comment": "south storm"})
        )
        await expect(northern.locator(".quote")).to_have_text("north storm")
        await expect(southern.locator("tbody .comment-text")).to_have_text("south storm")

        for page, theirs in ((northern, "south|sand|desert"), (southern, "north|snow|polar")):
            for path in ("/requests/same", "/?q=storm", "/insights", "/comments"):
                await page.goto(path)
                text = await page.locator("main").inner_text()
                assert not re.search(theirs, text), path


async def test_a_wrong_key_gets_a_clear_message_and_the_right_one_leads_on(
    browser: Browser, dashboard: Dashboard
) -> None:
    """To the page that was asked for; a script never sees the cookie; out is out."""
    tenant = dashboard.tenant("empty")
    async with window(browser, dashboard.url(), expected=("status of 401",)) as page:
        await page.goto("/?tag=a")
        await expect(page).to_have_url(re.compile("/sign-in"))
        await page.get_by_label("Key").fill("aw_wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("unknown")
        await page.get_by_label("Key").fill(tenant.key)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(re.compile(r"/\?tag=a$"))
        assert await page.evaluate("document.cookie") == ""

        await page.get_by_role("button", name="Sign out").click()
        await page.goto("/")
        await expect(page).to_have_url(re.compile("/sign-in$"))


async def test_the_theme_is_the_systems_until_a_user_chooses(browser: Browser, dashboard: Dashboard) -> None:
    """And then it stays, also on the next page, without a flash: the server knows it."""
    background = "getComputedStyle(document.body).backgroundColor"
    async with window(browser, dashboard.url(), theme="dark") as page:
        await page.goto("/sign-in")
        dark = await page.evaluate(background)
        await page.get_by_role("button", name="Switch between dark and light").click()
        light = await page.evaluate(background)
        await page.goto("/sign-in?next=/")
        assert await page.evaluate(background) == light != dark
        assert await page.locator("html").get_attribute("data-theme") == "light"
