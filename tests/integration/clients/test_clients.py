"""What HTTP clients send by default is taken, on connections that they keep."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import httpx
import pytest
import requests

from tests.integration.clients.conftest import MANY, Door, expected
from tests.support.docs.pages import ROOT, tables
from tests.support.http.clients import CLIENTS, connected, output, program
from tests.support.ingest.app import code_of

HERE = Path(__file__).parent
ACCEPTED = ["202 accepted"] * MANY


def test_the_page_lists_these_clients() -> None:
    """And says of each whether it is run here, or replayed."""
    [listed] = [table for table in tables(ROOT / "docs" / "http.md") if table.header[0] == "Client"]

    assert {row[0]: row[-1] for row in listed.rows} == CLIENTS


@pytest.mark.parametrize("version", ["2", "1.1"], ids=["by default", "HTTP/1.1"])
async def test_java(door: Door, version: str) -> None:
    """By default it asks to continue with HTTP/2 (h2c) with its first request."""
    program("javac")
    told = await output(program("java"), HERE / "Client.java", door.url, door.key, "java", version, str(MANY))

    assert told.splitlines() == ACCEPTED
    assert door.ratings() == expected("java")


async def test_node(door: Door) -> None:
    """Connections kept for the next request, several at once, and a body in chunks."""
    told = await output(program("node"), HERE / "client.mjs", door.url, door.key, "node", str(MANY))

    assert told.splitlines() == ACCEPTED
    assert door.ratings() == expected("node")


CURLS: dict[str, tuple[str, ...]] = {
    "by default": (),
    "--http1.0": ("--http1.0",),
    "--http2": ("--http2",),
    "chunked": ("--header", "Transfer-Encoding: chunked"),
    "compressed": ("--compressed",),
    "asks first": ("--header", "Expect: 100-continue"),
}


@pytest.mark.parametrize("options", CURLS.values(), ids=CURLS)
async def test_curl(door: Door, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Two requests on a connection, small and large: curl asks first (100-continue) from a megabyte on."""
    for number, padding in ((0, 0), (1, 400_000)):
        body = {"data": {"rating": number, "padding": "x" * padding}}
        (tmp_path / f"{number}.json").write_text(json.dumps(body))
    common = (
        *("--silent", "--show-error", "--fail", "--max-time", "60", *options),
        *("--header", f"Authorization: Bearer {door.key}", "--header", "Content-Type: application/json"),
    )
    calls = [
        (*common, "--data-binary", f"@{tmp_path}/{number}.json", f"{door.url}/feedback/curl%2F{number}")
        for number in range(2)
    ]
    told = await output(program("curl"), *calls[0], "--next", *calls[1])

    assert told.count('"status":"accepted"') == 2
    assert door.ratings() == expected("curl", 2)


async def test_curl_stops_where_it_is_refused(door: Door) -> None:
    """Who asks first, with a body that is too large, sends none of it."""
    told = await output(
        *(program("curl"), "--silent", "--max-time", "60", "--write-out", "%{http_code} %{size_upload}"),
        *("--header", f"x-api-key: {door.key}", "--header", "Content-Type: application/json"),
        *("--header", "Expect: 100-continue", "--expect100-timeout", "60", "--data-binary", "@-"),
        *("--output", "/dev/null"),
        f"{door.url}/feedback/large",
        stdin=b'{"data": "%b"}' % (b"x" * (2 << 20)),
    )

    assert told == "413 0"


async def test_python_requests(door: Door) -> None:
    """A session keeps its connection."""

    def send() -> list[str]:
        with requests.Session() as session:
            session.headers["x-api-key"] = door.key
            answers = [
                session.post(
                    f"{door.url}/feedback/{quote(name, safe='')}",
                    **({"json": body} if number % 2 else {"data": iter([json.dumps(body).encode()])}),
                    timeout=60,
                )
                for number, (name, body) in enumerate(bodies("requests"))
            ]
        return [f"{answer.status_code} {answer.json()['status']}" for answer in answers]

    assert await asyncio.to_thread(send) == ACCEPTED
    assert door.ratings() == expected("requests")


async def test_python_httpx(door: Door) -> None:
    """A pool of connections, more requests at once than it has."""
    async with httpx.AsyncClient(
        base_url=door.url,
        headers={"x-api-key": door.key},
        limits=httpx.Limits(max_connections=4),
        timeout=60,
    ) as client:
        sends = [
            client.post(f"/feedback/{quote(name, safe='')}", json=body) for name, body in bodies("httpx")
        ]
        answers = await asyncio.gather(*sends)

    assert [f"{answer.status_code} {answer.json()['status']}" for answer in answers] == ACCEPTED
    assert door.ratings() == expected("httpx")


async def test_python_urllib(door: Door) -> None:
    """A connection for each request, which it asks to close."""

    def send() -> list[str]:
        told = []
        for name, body in bodies("urllib"):
            headers = {"Authorization": f"Bearer {door.key}", "Content-Type": "application/json"}
            url = f"{door.url}/feedback/{quote(name, safe='')}"
            with urlopen(Request(url, json.dumps(body).encode(), headers), timeout=60) as answer:
                told.append(f"{answer.status} {json.load(answer)['status']}")
        return told

    assert await asyncio.to_thread(send) == ACCEPTED
    assert door.ratings() == expected("urllib")


def bodies(client: str) -> list[tuple[str, dict[str, Any]]]:
    """Return ids and bodies, which become larger."""
    return [
        (name, {"data": {"rating": rating, "padding": "x" * rating * 4096}})
        for name, rating in expected(client).items()
    ]


async def test_dotnet_replayed(door: Door) -> None:
    """JsonContent travels in chunks, StringContent with its length, and the Framework asks first."""
    host, key = door.url.removeprefix("http://").encode(), door.key.encode()
    head = b"POST /feedback/net%%2F%d HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer %b\r\n"
    kind = b"Content-Type: application/json; charset=utf-8\r\n"
    async with connected(door.url) as connection:
        for number in range(3):
            body = b'{"data":{"rating":%d}}' % number
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            connection.send(head % (number, host, key), kind)
            if number == 0:
                connection.send(b"Transfer-Encoding: chunked\r\n\r\n", b"%X\r\n" % len(body), body, b"\r\n")
                connection.send(b"0\r\n\r\n")
            elif number == 1:
                connection.send(length, body)
            else:
                connection.send(b"Expect: 100-continue\r\n", length)
                assert (await connection.answer()).status == 100
                connection.send(body)
            answer = await connection.answer()
            assert (answer.status, json.loads(answer.body)["request_id"]) == (202, f"net/{number}")

    assert door.ratings() == expected("net", 3)


POWERSHELL = (
    b"POST %b HTTP/1.1\r\n"
    b"x-api-key: %b\r\n"
    b"User-Agent: Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.5247\r\n"
    b"Content-Type: application/json\r\n"
    b"Host: %b\r\n"
    b"Content-Length: %d\r\n"
    b"Expect: 100-continue\r\n"
    b"Connection: Keep-Alive\r\n\r\n"
)


async def test_powershell_replayed(door: Door) -> None:
    """A file that Windows PowerShell wrote begins with a byte order mark; its client asks first."""
    host = door.url.removeprefix("http://").encode()
    async with connected(door.url) as connection:
        for number, path in enumerate((b"/feedback/ps%2F0", b"/v1/events", b"/v1/events")):
            event = b'{"request_id":"ps/%d","data":{"rating":%d}}' % (number, number)
            body = b"\xef\xbb\xbf" + ((b'{"data":{"rating":0}}', event, b"[%b]" % event)[number])
            connection.send(POWERSHELL % (path, door.key.encode(), host, len(body)))
            assert (await connection.answer()).status == 100
            connection.send(body)
            assert (await connection.answer()).status in (202, 207)

    assert door.ratings() == expected("ps", 3)


async def test_errors_are_answered_on_a_connection_that_stays_open(door: Door) -> None:
    """A client that keeps its connection is answered 422, and then 202."""
    async with httpx.AsyncClient(
        base_url=door.url, headers={"x-api-key": door.key}, limits=httpx.Limits(max_connections=1), timeout=60
    ) as client:
        refused = await client.post("/feedback/x", json={"data": 5})
        taken = await client.post("/feedback/x/", json={"data": {"rating": 5}})

    assert (refused.status_code, code_of(refused), taken.status_code) == (422, "invalid_feedback", 202)
