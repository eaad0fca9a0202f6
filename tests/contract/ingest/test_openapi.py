"""`/openapi.json` and `/docs` describe what really happens."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema_rs
import pytest

from services.ingest.app import IngestApp
from services.ingest.dialects import DIALECTS
from tests.support.ingest.app import client_of, documented_path, ingest_over
from tests.support.ingest.fake_log import FakeLog
from tests.support.ingest.logged_events import LoggedEvents


@pytest.fixture
def app(tmp_path: Path) -> IngestApp:
    """Ingest over a log in memory, without keys."""
    log = FakeLog()
    return ingest_over(log, tmp_path, stored_events=LoggedEvents(log))


@pytest.fixture
def document(app: IngestApp) -> dict[str, Any]:
    """The OpenAPI document."""
    return dict(json.loads(json.dumps(app.openapi())))


def documented(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Return every method and path that the document has."""
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def test_what_is_documented_is_what_is_answered(document: dict[str, Any]) -> None:
    """Every route of every dialect, and the probes."""
    routes = {
        (route.method, documented_path(dialect, route)) for dialect in DIALECTS for route in dialect.routes
    }

    assert documented(document) == routes | {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics")}


async def test_every_path_is_answered_at_each_of_its_servers(
    app: IngestApp, document: dict[str, Any]
) -> None:
    """Bare, under the dialect's prefix, and with a key before both."""
    client = client_of(app)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for server in operation.get("servers", [{"url": ""}]):
                url = server["url"].replace("{write_key}", "key").rstrip("/") + path.replace(
                    "{request_id}", "r"
                )
                answer = await client.request(method, url)
                is_missing = answer.status_code == 404 and "unknown_item" not in answer.text
                assert not is_missing, url
                assert answer.status_code not in (405, 500), url


SENT: tuple[tuple[str, str, Any, int], ...] = (
    ("post", "/feedback/{request_id}", {"data": {"rating": 5}}, 202),
    ("post", "/feedback/{request_id}", {"data": 5}, 422),
    ("delete", "/feedback/{request_id}", None, 202),
    ("post", "/v1/feedback/", {"message_id": "m", "rating": "positive"}, 200),
    ("post", "/v1/feedback/", {"rating": "good"}, 422),
    ("post", "/v1/events", {"request_id": "r", "data": {}}, 202),
    ("post", "/v1/events", [{"request_id": "r", "data": {}}, {"request_id": "r"}, 5], 207),
    ("post", "/v1/events", "text", 422),
    ("put", "/v1/requests/{request_id}", {"model": "m"}, 202),
    ("get", "/livez", None, 200),
    ("get", "/readyz", None, 200),
)


@pytest.mark.parametrize(("method", "path", "body", "status"), SENT)
async def test_answers_have_the_documented_shape(
    app: IngestApp, document: dict[str, Any], method: str, path: str, body: Any, status: int
) -> None:
    """By the schema that the document has for this status and this type."""
    answer = await client_of(app).request(method, path.replace("{request_id}", "r"), json=body)

    assert answer.status_code == status
    check(document, method, path, answer)


def check(document: dict[str, Any], method: str, path: str, answer: httpx.Response) -> None:
    """Hold one answer against the document."""
    responses = document["paths"][path][method]["responses"]
    described = responses.get(str(answer.status_code), responses.get("default"))["content"]
    schema = described[answer.headers["content-type"]]["schema"]
    jsonschema_rs.validate({**schema, "components": document["components"]}, answer.json())


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"host": "evil.example"}, b"{}", 403),
        ({"content-type": "text/plain"}, b"{}", 415),
        ({}, b"{", 400),
        ({}, b" " * (17 << 20), 413),
        ({"idempotency-key": "x" * 300}, b'{"data":{}}', 422),
    ],
)
async def test_problems_have_the_documented_shape(
    app: IngestApp, document: dict[str, Any], headers: dict[str, str], body: bytes, status: int
) -> None:
    """On every route that takes a body and needs a key; web pages of any origin may call the others."""
    for method, path in documented(document):
        operation = document["paths"][path][method.lower()]
        if "requestBody" in operation and operation["security"]:
            url = path.replace("{request_id}", "r")
            answer = await client_of(app).request(method, url, content=body, headers=headers)
            assert answer.status_code == status
            check(document, method.lower(), path, answer)


async def test_problems_of_the_log_have_the_documented_shape(tmp_path: Path) -> None:
    """503, with Retry-After."""
    log = FakeLog()
    log.problem = "away"
    app = ingest_over(log, tmp_path)
    answer = await client_of(app).post("/feedback/r", json={"data": {}})

    assert answer.status_code == 503
    check(json.loads(json.dumps(app.openapi())), "post", "/feedback/{request_id}", answer)
    described = app.openapi()["paths"]["/feedback/{request_id}"]["post"]["responses"]["503"]
    assert "Retry-After" in described["headers"]


async def test_documented_examples_are_accepted(app: IngestApp, document: dict[str, Any]) -> None:
    """What people copy from the page works, up to an item that is not stored here."""
    count = 0
    for path, method, kind, example in examples(document):
        content = example if isinstance(example, str) else json.dumps(example)
        url = path.replace("{request_id}", "r")
        answer = await client_of(app).request(method, url, content=content, headers={"content-type": kind})
        if answer.status_code != 404 or "unknown_item" not in answer.text:
            assert answer.status_code in (200, 202, 207), (path, example)
            assert answer.json().get("rejected", 0) == 0
        count += 1
    assert count >= 5


def examples(document: dict[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield path, method, content type and example of every body that has one."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for kind, media in operation.get("requestBody", {}).get("content", {}).items():
                if "example" in media:
                    yield path, method, kind, media["example"]
                for schema in media["schema"].get("anyOf", [media["schema"]]):
                    name = schema.get("$ref", "").rpartition("/")[2]
                    for example in document["components"]["schemas"].get(name, {}).get("examples", ()):
                        yield path, method, kind, example


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    """Every reference leads somewhere, and no route is described twice under one name."""
    text = json.dumps(document)
    names = {reference.partition('"')[0] for reference in text.split('"#/components/schemas/')[1:]}
    operations = [
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    ]

    assert names <= set(document["components"]["schemas"])
    assert len(set(operations)) == len(operations)
    assert "HTTPValidationError" not in text


async def test_the_page_loads_nothing_from_elsewhere(app: IngestApp) -> None:
    """Its scripts and styles are here, and the browser is told to fetch nothing else."""
    client = client_of(app)
    page = await client.get("/docs")
    links = [part.partition('"')[0] for sign in ('src="', 'href="') for part in page.text.split(sign)[1:]]

    assert page.status_code == 200
    assert len(links) == 3
    for link in links:
        assert not urlsplit(link).netloc
        assert (await client.get(link)).status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    assert (await client.get("/openapi.json")).status_code == 200


def test_nothing_is_answered_by_fastapi_that_the_door_should_answer(app: IngestApp) -> None:
    """The declared endpoints are never run: a request that got so far would be a mistake of ours."""
    app.openapi()
    declared = [route for route in app.router.routes if getattr(route, "include_in_schema", False)]
    scope = {"type": "http", "method": "POST", "path": "/v1/events", "headers": []}

    assert declared
    assert all(route.matches(scope)[0].value == 0 for route in declared)
