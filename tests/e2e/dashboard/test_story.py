"""What people do with the dashboard, in a real browser, from the sign-in to the exported file."""

import csv
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.clickhouse.tables import rows
from tests.support.http.browser import window
from tests.support.query.dashboard import Dashboard, Tenant


async def fill(tenant: Tenant) -> None:
    """Say something about five requests; two of them are negative."""
    facts = {"model": "gpt-x", "provider": "acme", "latency_ms": 812.5, "cost_usd": 0.0042}
    facts |= {"prompt": "Where is my refund?", "response": "On its way."}
    await tenant.say_all(
        ("happy", {"rating": "positive", "tags": ["billing"]}, facts),
        ("amazed", {"rating": "amazing", "comment": "Lovely"}, facts),
        ("angry", {"rating": "negative", "comment": "Wrong year", "tags": ["facts", "slow"]}, facts),
        ("number", {"rating": 1, "comment": "=1+1"}, {}),
        ("silent", {}, facts),
    )


@pytest.fixture(scope="module")
async def filled(dashboard: Dashboard) -> Tenant:
    """A tenant with five requests, for tests that change nothing."""
    tenant = dashboard.tenant("read-only")
    await fill(tenant)
    return tenant


def row_of(page: Page, request_id: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Return a row of the log."""
    return page.locator(f'tbody[data-key="{request_id}"]')


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_sign_in_filter_open_watch_export(
    theme: str, browser: Browser, dashboard: Dashboard, tmp_path: Path
) -> None:
    """The whole way, in one window, in both themes."""
    tenant = dashboard.tenant(f"story-{theme}")
    await fill(tenant)
    async with window(browser, dashboard.url(), theme=theme) as page:
        await tenant.sign_in(page)
        await expect(page.locator(".who-name")).to_have_text(tenant.name)
        await expect(page.locator("tbody")).to_have_count(5)

        await page.get_by_role("link", name="Negative").click()
        await expect(page).to_have_url(re.compile(r"\?sentiment=negative$"))
        await expect(page.locator("tbody")).to_have_count(2)
        await expect(row_of(page, "angry").locator(".vote")).to_have_text("👎")
        await expect(row_of(page, "number").locator(".rating")).to_have_text("1")

        await _exported_is_what_is_shown(page, dashboard, tenant, tmp_path)
        await _one_request(page)
        await _live(page, tenant)


async def _exported_is_what_is_shown(
    page: Page, dashboard: Dashboard, tenant: Tenant, directory: Path
) -> None:
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="CSV").click()
    download = await downloading.value
    await download.save_as(directory / "export.csv")
    with (directory / "export.csv").open(newline="", encoding="utf-8-sig") as file:
        exported = {
            (line["request_id"], line["model"], line["comment"].removeprefix("'"))
            for line in csv.DictReader(file)
        }
    stored = await rows(
        dashboard.stack.settings,
        "SELECT request_id, model, comment FROM feedback "
        f"WHERE tenant = '{tenant.name}' AND sentiment = 'negative'",
    )
    assert exported == set(stored)
    assert len(stored) == 2


async def _one_request(page: Page) -> None:
    await row_of(page, "angry").get_by_role("link", name="angry").click()
    await expect(page.locator("h1")).to_have_text("angry")
    await expect(page.locator(".quote")).to_have_text("Wrong year")
    await expect(page.locator(".turn-text").last).to_have_text("On its way.")
    entry = page.locator(".timeline > li")
    await expect(entry).to_have_count(1)
    await expect(entry.locator(".change-key")).to_contain_text(["rating", "comment", "tags", "cost_usd"])
    await expect(page.locator("#live-switch")).to_have_attribute("data-state", "live")


async def _live(page: Page, tenant: Tenant) -> None:
    await page.evaluate("window.stillHere = true")
    await tenant.say("angry", {"rating": "positive", "comment": "Corrected, thanks"})
    await expect(page.locator(".timeline > li")).to_have_count(2)
    await expect(page.locator(".quote")).to_have_text("Corrected, thanks")
    await expect(page.locator(".one-vote")).to_have_text("👍")
    assert await page.evaluate("window.stillHere")


async def test_a_row_of_the_log_changes_without_a_reload(browser: Browser, dashboard: Dashboard) -> None:
    """It is highlighted and told; what is open stays open, and the focus stays where it is."""
    tenant = dashboard.tenant("changing")
    await fill(tenant)
    async with window(browser, dashboard.url()) as page:
        await tenant.sign_in(page)
        await expect(page.locator("#live-switch")).to_have_attribute("data-state", "live")
        opener = row_of(page, "happy").get_by_role("button")
        await opener.click()
        await expect(row_of(page, "happy").locator(".log-detail")).to_be_visible()
        await page.evaluate("window.stillHere = true")

        await tenant.say("happy", {"rating": "negative", "comment": "Changed my mind"})

        await expect(row_of(page, "happy").locator(".log-vote")).to_have_text("👎")
        await expect(row_of(page, "happy").locator(".log-detail")).to_be_visible()
        await expect(row_of(page, "happy").locator(".quote")).to_have_text("Changed my mind")
        await expect(row_of(page, "happy")).to_have_class("changed")
        await expect(page.locator("tbody").first).to_have_attribute("data-key", "happy")
        await expect(opener).to_be_focused()
        await expect(page.locator("#announcer")).to_have_text(re.compile("updated"))
        assert await page.evaluate("window.stillHere")


async def test_a_paused_page_is_unchanged_until_it_is_resumed(browser: Browser, dashboard: Dashboard) -> None:
    """And then it shows everything that it missed."""
    tenant = dashboard.tenant("paused")
    await tenant.say("first", {"rating": 5})
    async with window(browser, dashboard.url()) as page:
        await tenant.sign_in(page)
        switch = page.locator("#live-switch")
        await expect(switch).to_have_attribute("data-state", "live")
        await switch.click()
        await expect(switch).to_have_text("Paused")

        await tenant.say("second", {"rating": 1})
        await expect(page.locator("tbody")).to_have_count(1)
        await switch.click()

        await expect(page.locator("tbody")).to_have_count(2)


async def test_the_keyboard_alone_is_enough(browser: Browser, filled: Tenant) -> None:
    """From the sign-in over a search to a request's page, with a visible focus all the way."""
    async with window(browser, filled.query_url) as page:
        keys = page.keyboard
        await page.goto("/sign-in")
        await keys.type(filled.key)
        await keys.press("Enter")
        await expect(page.locator("tbody")).to_have_count(5)
        await keys.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await keys.press("Enter")
        await expect(page.locator("#main")).to_be_focused()

        await keys.press("/")
        await keys.type("wrong")
        await keys.press("Enter")
        await expect(page).to_have_url(re.compile(r"\?q=wrong$"))
        await keys.press("j")
        await expect(row_of(page, "angry").get_by_role("button")).to_be_focused()
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(outline) == "solid"
        await keys.press("Enter")
        await expect(row_of(page, "angry").locator(".log-detail")).to_be_visible()
        await keys.press("Tab")
        await keys.press("Enter")
        await expect(page.locator("h1")).to_have_text("angry")


async def test_filters_are_set_in_the_panel_and_taken_away_one_by_one(
    browser: Browser, filled: Tenant
) -> None:
    """Their state is the address: it can be sent to somebody, and Back goes back."""
    async with window(browser, filled.query_url) as page:
        await filled.sign_in(page)
        await page.locator("#filter-panel > summary").click()
        await page.get_by_label("Model").fill("gpt-x")
        await page.get_by_label("Key", exact=True).fill("rating")
        await page.get_by_label("Value").fill("negative")
        await page.get_by_role("button", name="Apply").click()
        await expect(page).to_have_url(re.compile(r"/\?model=gpt-x&data\.rating=eq%3Anegative$"))
        await expect(page.locator("tbody")).to_have_count(1)
        await expect(page.locator(".chip-remove")).to_have_count(2)

        await page.locator(".chip-remove", has_text="data.rating").click()
        await expect(page).to_have_url(re.compile(r"/\?model=gpt-x$"))
        await expect(page.locator("tbody")).to_have_count(4)
        await page.get_by_role("link", name="Latency").click()
        await expect(page).to_have_url(re.compile(r"/\?model=gpt-x&order=-latency_ms$"))
        await page.go_back()
        await page.go_back()
        await expect(page.locator("tbody")).to_have_count(1)
