"""The client for browsers and Node against ingest: in Node, and in pages of another origin."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.integration.clients.conftest import Door, shop
from tests.support.docs.pages import ROOT, Example, examples_of
from tests.support.eventually import eventually
from tests.support.http.browser import window
from tests.support.http.clients import output, program
from tests.support.ingest.app import decoded

CLIENT = ROOT / "clients" / "typescript"
DIST = {f"/afterword/{path.name}": path.read_bytes() for path in (CLIENT / "dist").glob("*.js")}


async def test_dist_is_what_the_compiler_makes_of_the_sources(tmp_path: Path) -> None:
    """`npm run build` writes it."""
    compiler = CLIENT / "node_modules" / "typescript" / "bin" / "tsc"
    node = program("node")
    if not compiler.exists():
        missing = "there is no TypeScript compiler: scripts/typescript.sh installs it"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    await output(node, compiler, "--project", CLIENT, "--outDir", tmp_path)

    assert contents(tmp_path) == contents(CLIENT / "dist") != {}


def contents(folder: Path) -> dict[str, str]:
    """Return the text of each file in a folder."""
    return {path.name: path.read_text() for path in folder.iterdir()}


async def test_the_client_in_node() -> None:
    """Its own tests, which have a server that misbehaves."""
    printed = await output(program("node"), "--test", *sorted((CLIENT / "test").glob("*.mjs")))

    assert int(re.findall(r"^# pass (\d+)$", printed, re.MULTILINE)[0]) > 0


def example(language: str) -> Example:
    """Return the only example in a language on the page about clients."""
    [found] = [one for one in examples_of(ROOT / "docs" / "clients.md") if one.block.language == language]
    return found


async def test_the_example_for_node(door: Door, tmp_path: Path) -> None:
    """With an address and a key that exist."""
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "afterword-client").symlink_to(CLIENT)
    shown = example("js")
    text = shown.block.text.replace("http://127.0.0.1:8080", door.url)
    (tmp_path / "example.mjs").write_text(text.replace("process.env.AFTERWORD_KEY", f'"{door.key}"'))
    printed = await output(program("node"), tmp_path / "example.mjs")

    assert shown.output
    assert printed == shown.output.text
    assert [(event.get("data"), event.get("request")) for event in decoded(door.log.events)] == [
        (None, {"model": "gpt-x", "latency_ms": 812.5}),
        ({"rating": 5, "comment": "Spot on."}, None),
    ]


@asynccontextmanager
async def answer_page(browser: Browser, door: Door, request_id: str = "") -> AsyncIterator[Page]:
    """Open the page's example at another origin, and collect the events of its element in `seen`."""
    text = example("html").block.text.replace("http://127.0.0.1:8080", door.url)
    text = text.replace("<write key>", door.key)
    if request_id:
        text = text.replace("chatcmpl-clients-2", request_id)
    page_file = f"<!doctype html><html lang=en><title>Answer</title><p>An answer.</p>{text}".encode()
    async with (
        shop({"/": page_file, **DIST}) as site,
        window(browser, site, expected=("a request to", "net::ERR_FAILED")) as page,
    ):
        await page.goto("/")
        await page.evaluate("""
            () => {
              globalThis.seen = [];
              for (const name of ["feedback", "feedback-outcome"])
                addEventListener(name, (event) => seen.push([name, event.detail]));
            }
        """)
        yield page


def sent(door: Door) -> list[dict[str, object]]:
    """Return the feedback that arrived, in order."""
    return [event["data"] for event in decoded(door.log.events)]


async def test_votes_of_a_page_of_another_origin(browser: Browser, door: Door) -> None:
    """Each click is an event; the element reflects it, and a second click takes it back."""
    async with answer_page(browser, door) as page:
        element, good = page.locator("afterword-feedback"), page.get_by_role("button", name="Good answer")
        await expect(good).to_have_attribute("aria-pressed", "false")
        await good.click()
        await expect(element).to_have_attribute("state", "sent")
        await expect(element).to_have_attribute("value", "positive")
        await expect(good).to_have_attribute("aria-pressed", "true")
        await expect(page.get_by_role("status")).to_have_text("Thank you for your feedback.")
        await page.get_by_role("button", name="Bad answer").click()
        await expect(good).to_have_attribute("aria-pressed", "false")
        await page.get_by_role("button", name="Bad answer").click()
        await eventually(lambda: len(sent(door)) == 3)
        await expect(element).not_to_have_attribute("value", re.compile(""))
        seen = await page.evaluate("seen")

    assert sent(door) == [{"rating": "positive"}, {"rating": "negative"}, {"rating": None}]
    assert decoded(door.log.events)[0]["request_id"] == "chatcmpl-clients-2"
    detail = {"requestId": "chatcmpl-clients-2", "data": {"rating": "positive"}}
    assert seen[:2] == [
        ["feedback", detail],
        ["feedback-outcome", {**detail, "outcome": {"status": "accepted"}}],
    ]


async def test_a_comment_by_keyboard_alone(browser: Browser, door: Door) -> None:
    """The field appears after 👎, in the order of focus; Escape closes it, and focus is never lost."""
    async with answer_page(browser, door) as page:
        bad, field = page.get_by_role("button", name="Bad answer"), page.get_by_label("What was wrong?")
        await expect(field).to_be_hidden()
        for key in ("Tab", "Tab", "Space"):
            await page.keyboard.press(key)
        await expect(bad).to_be_focused()
        await expect(bad).to_have_attribute("aria-expanded", "true")
        await page.keyboard.press("Tab")
        await expect(field).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(field).to_be_hidden()
        await expect(bad).to_be_focused()
        for key in ("Space", "Space", "Tab"):
            await page.keyboard.press(key)
        await page.keyboard.type("The year is wrong")
        for key in ("Tab", "Enter"):
            await page.keyboard.press(key)
        await expect(field).to_be_hidden()
        await expect(bad).to_be_focused()
        await eventually(lambda: len(sent(door)) == 4)

    ratings: list[dict[str, object]] = [{"rating": value} for value in ("negative", None, "negative")]
    assert sent(door) == [*ratings, {"comment": "The year is wrong"}]


async def test_what_a_screen_reader_meets(browser: Browser, door: Door) -> None:
    """A named group of named buttons that tell whether they are pressed, a labelled field, a live region."""
    async with answer_page(browser, door) as page:
        await page.get_by_role("button", name="Bad answer").click()
        await expect(page.locator("afterword-feedback")).to_match_aria_snapshot("""
            - group "Rate this answer":
              - button "Good answer"
              - button "Bad answer" [expanded] [pressed]
            - text: What was wrong?
            - textbox "What was wrong?"
            - button "Send comment"
            - status: Thank you for your feedback.
        """)


async def test_a_rejected_vote_is_shown(browser: Browser, door: Door) -> None:
    """The page learns the reason; another answer begins without a vote."""
    async with answer_page(browser, door, request_id="x" * 300) as page:
        element, good = page.locator("afterword-feedback"), page.get_by_role("button", name="Good answer")
        await good.click()
        await expect(element).to_have_attribute("state", "failed")
        await expect(page.get_by_role("status")).to_have_text("Your feedback could not be sent.")
        [_, [_, detail]] = await page.evaluate("seen")
        await element.evaluate("(element) => element.setAttribute('request-id', 'another')")
        await expect(element).not_to_have_attribute("state", re.compile(""))
        await expect(page.get_by_role("button", name="Good answer")).to_have_attribute(
            "aria-pressed", "false"
        )

    assert detail["outcome"]["code"] == "invalid_feedback"
    assert sent(door) == []


async def test_a_theme_of_the_page(browser: Browser, door: Door) -> None:
    """By a custom property, which the shadow lets through."""
    async with answer_page(browser, door) as page:
        await page.locator("afterword-feedback").evaluate(
            "(element) => element.style.setProperty('--afterword-accent', 'rgb(1, 2, 3)')"
        )
        good = page.get_by_role("button", name="Good answer")
        await good.click()
        await expect(good).to_have_css("background-color", "rgb(1, 2, 3)")


async def only_beacons(route: Route) -> None:
    """Lose every request but a beacon."""
    await (route.continue_() if route.request.resource_type == "ping" else route.abort())


async def test_what_waits_is_sent_by_a_beacon_when_the_page_is_left(browser: Browser, door: Door) -> None:
    """No fetch of this page arrives, so the vote waits for its retry until then."""
    async with answer_page(browser, door) as page:
        await page.route("**/v1/events", only_beacons)
        async with page.expect_console_message(lambda message: "are sent again" in message.text):
            await page.get_by_role("button", name="Good answer").click()
        await page.goto("about:blank")
        await eventually(lambda: sent(door) == [{"rating": "positive"}])
