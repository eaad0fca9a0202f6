"""Which paths, methods and types of body lead where."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ingest.app import client_of, code_of, decoded, ingest_over, paths_of
from tests.support.ingest.fake_log import FakeLog


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/feedback/a%2Fb", "a/b"),
        ("/feedback/%C3%BC%20%F0%9F%99%82", "ü 🙂"),
        ("/feedback/a%252Fb", "a%2Fb"),
        ("/requesty/feedback/k", "k"),
        ("/k/whatever/requesty/feedback/k", "k"),
        ("/feedback/..%2Fadmin", "../admin"),
        ("/feedback/" + "%F0%9F%99%82" * 256, "🙂" * 256),
    ],
)
async def test_an_id_in_a_path_may_hold_any_character(
    client: httpx.AsyncClient, log: FakeLog, path: str, expected: str
) -> None:
    """The raw path is judged, and decoded once."""
    answer = await client.post(path, json={"data": {}})

    assert answer.status_code == 202
    assert decoded(log.events)[0]["request_id"] == expected
    assert log.partitions[_partition(log)][0][0] == f"default/{expected}".encode()


def _partition(log: FakeLog) -> int:
    return next(number for number, records in enumerate(log.partitions) if records)


@pytest.mark.parametrize(
    "segment", ["", "%00", "%2E", "%2e%2E", "a%0A", "%C2%85", "%ED%A0%80", "%FF", "x" * 257]
)
async def test_an_id_that_cannot_be_one_is_refused(
    client: httpx.AsyncClient, log: FakeLog, segment: str
) -> None:
    """Empty, dots, control characters, what is not UTF-8, too long."""
    for method, path in (("POST", "/feedback/"), ("DELETE", "/feedback/"), ("PUT", "/v1/requests/")):
        answer = await client.request(method, path + segment, json={"data": {}})
        assert paths_of(answer) == ["request_id"]
    assert not log.events


@pytest.mark.parametrize("prefix", ["", "/native", "/k/whatever"])
@pytest.mark.parametrize(
    ("method", "path", "body", "request_id"),
    [
        ("POST", "/feedback/a", {"data": {}}, "a"),
        ("DELETE", "/feedback/a%2F", None, "a/"),
        ("POST", "/feedback/%2F", {"data": {}}, "/"),
        ("POST", "/v1/feedback", {"message_id": "m", "rating": "positive"}, "m"),
        ("POST", "/v1/events", {"request_id": "r", "data": {}}, "r"),
        ("PUT", "/v1/requests/r%2F", {"model": "m"}, "r/"),
    ],
)
async def test_a_slash_at_the_end_of_a_path_means_nothing(
    client: httpx.AsyncClient, log: FakeLog, prefix: str, method: str, path: str, body: Any, request_id: str
) -> None:
    """Both forms are taken, without a redirect; a slash that ends an id is `%2F`."""
    if prefix == "/native":
        dialect = {"/feedback": "/requesty", "/v1/feedback": "/gptboost"}
        prefix = next((to for start, to in dialect.items() if path.startswith(start)), prefix)
    for end in ("", "/"):
        answer = await client.request(method, f"{prefix}{path}{end}", json=body)
        assert answer.status_code in (200, 202), end

    assert [event["request_id"] for event in decoded(log.events)] == [request_id] * 2


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json"])
async def test_head_is_answered_as_get_is(client: httpx.AsyncClient, path: str) -> None:
    """On every route that takes GET, with a slash at its end, too."""
    for end in ("", "/"):
        got, head = await client.get(path + end), await client.head(path + end)
        assert (head.status_code, head.headers["content-type"]) == (200, got.headers["content-type"])


@pytest.mark.parametrize("root", ["/feedback", "/a/b.c", "/v1"])
async def test_a_prefix_is_taken_away_by_the_proxy_or_not(log: FakeLog, tmp_path: Path, root: str) -> None:
    """Both lead to the same routes, also where the prefix is the beginning of one."""
    app = ingest_over(log, tmp_path, ingest_root_path=root + "/")
    client = client_of(app)
    for before in ("", root):
        sent = [
            await client.post(f"{before}/feedback/docs", json={"data": {}}),
            await client.delete(f"{before}/k/key/feedback/a%2F/"),
            await client.post(f"{before}/v1/feedback/", json={"message_id": "m", "rating": "positive"}),
            await client.post(f"{before}/v1/events", json={"request_id": "r", "data": {}}),
            await client.put(f"{before}/v1/requests/feedback", json={}),
        ]
        assert [answer.status_code for answer in sent] == [202, 202, 200, 202, 202], before
        read = [await client.get(f"{before}{path}") for path in ("/livez", "/docs/", "/openapi.json")]
        assert [answer.status_code for answer in read] == [200] * 3, before
        assert f'"{root}/docs/assets/swagger-ui.css"' in read[1].text
        assert f"'{root}/openapi.json'" in read[1].text
        preflight = await client.options(f"{before}/k/key/feedback/x")
        assert preflight.status_code == 204
        missing = await client.get(f"{before}/nowhere")
        assert (missing.status_code, code_of(missing)) == (404, "not_found")

    ids = [event["request_id"] for event in decoded(log.events)]
    assert sorted(ids) == sorted(["docs", "a/", "m", "r", "feedback"] * 2)
    servers = app.openapi()["paths"]["/v1/events"]["post"]["servers"]
    assert [server["url"] for server in servers][:3] == [root, f"{root}/native", f"{root}/k/{{write_key}}"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/feedback/a/b"),
        ("POST", "/requesty/feedback"),
        ("POST", "/nowhere"),
        ("GET", "/"),
        ("POST", "/gptboost/feedback/x"),
        ("POST", "/k"),
        ("POST", "/k/key"),
        ("PUT", "/v1/requests"),
        ("GET", "/docs/assets/../../settings.py"),
    ],
)
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, method: str, path: str) -> None:
    """As a problem, like every other error."""
    answer = await client.request(method, path, json={"data": {}})

    assert (answer.status_code, code_of(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/feedback/x", "POST, DELETE"),
        ("POST", "/v1/requests/x", "PUT"),
        ("PUT", "/v1/events", "POST"),
        ("OPTIONS", "/feedback/x", "POST, DELETE"),
        ("POST", "/livez", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
    ],
)
async def test_another_method_is_405_and_shows_which(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    """As a problem, with Allow."""
    answer = await client.request(method, path)

    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize(
    "kind", [None, "", "application/json", "Application/JSON; charset=UTF-8", "application/vnd.x+json"]
)
async def test_a_body_is_json_unless_it_declares_another_type(
    client: httpx.AsyncClient, kind: str | None
) -> None:
    """A missing Content-Type counts as JSON."""
    headers = {} if kind is None else {"content-type": kind}
    answer = await client.post("/feedback/x", content=b'{"data":{}}', headers=headers)

    assert answer.status_code == 202


@pytest.mark.parametrize("body", [{"request_id": "r", "data": {}}, [{"request_id": "r", "data": {}}]])
async def test_a_page_that_closes_may_call_its_json_text(client: httpx.AsyncClient, body: Any) -> None:
    """A beacon of text has this type; only where the key is in the path, which no stranger's form knows."""
    text, headers = json.dumps(body), {"content-type": "text/plain;charset=UTF-8"}
    beacon = await client.post("/k/key/v1/events", content=text, headers=headers)
    other = await client.post("/v1/events", content=text, headers=headers)

    assert beacon.status_code in (202, 207)
    assert (other.status_code, code_of(other)) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/x-ndjson"])
async def test_another_type_is_415(client: httpx.AsyncClient, kind: str) -> None:
    """Lines are for /v1/events alone."""
    answer = await client.post("/feedback/x", content=b'{"data":{}}', headers={"content-type": kind})

    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
    assert kind in answer.json()["detail"]
