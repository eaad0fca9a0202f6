"""What a page in a browser sends across origins, with a key in the path: also while it closes."""

from playwright.async_api import Browser

from tests.integration.clients.conftest import Door, shop
from tests.support.eventually import eventually
from tests.support.http.browser import window

SEND = """
async ([url, many]) => {
  const body = (name, number) => JSON.stringify({request_id: `${name}/${number}`, data: {rating: number}});
  const json = (text) => new Blob([text], {type: "application/json"});
  for (let number = 0; number < many; number++) {
    navigator.sendBeacon(`${url}/v1/events`, body("text", number));
    navigator.sendBeacon(`${url}/v1/events`, json(body("json", number)));
    const headers = {"content-type": "application/json"};
    await fetch(`${url}/v1/events`, {method: "POST", headers, body: body("fetch", number), keepalive: true});
  }
}
"""
CLOSE = """
(url) => addEventListener("pagehide", () => {
  navigator.sendBeacon(`${url}/feedback/closing%2F0/`, JSON.stringify({data: {rating: 0}}));
})
"""


async def test_beacons_and_fetches_of_a_page(browser: Browser, door: Door) -> None:
    """A beacon of text is asked about by nobody; one of JSON, and a fetch, are after a preflight."""
    many, url = 3, f"{door.url}/k/{door.key}"
    async with shop() as site, window(browser, site, expected=("a request to",)) as page:
        await page.goto("/")
        await page.evaluate(SEND, [url, many])
        await eventually(lambda: len(door.log.events) >= 3 * many)
        await page.evaluate(CLOSE, url)
        await page.goto("about:blank")
        await eventually(lambda: len(door.log.events) >= 3 * many + 1)

    sent = {f"{name}/{number}": number for name in ("text", "json", "fetch") for number in range(many)}
    assert door.ratings() == sent | {"closing/0": 0}
