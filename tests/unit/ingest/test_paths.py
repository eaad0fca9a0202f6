"""Which paths, methods and types of body lead where."""

import httpx
import pytest

from tests.support.fake_log import FakeLog
from tests.support.ingest import code_of, decoded, paths_of


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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/feedback/a/b"),
        ("POST", "/feedback"),
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
        ("POST", "/docs", "GET"),
    ],
)
async def test_another_method_is_405_and_says_which(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    """As a problem, with Allow."""
    answer = await client.request(method, path)

    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize(
    "kind", [None, "", "application/json", "Application/JSON; charset=UTF-8", "application/vnd.x+json"]
)
async def test_a_body_is_json_unless_it_says_otherwise(client: httpx.AsyncClient, kind: str | None) -> None:
    """A missing Content-Type counts as JSON."""
    headers = {} if kind is None else {"content-type": kind}
    answer = await client.post("/feedback/x", content=b'{"data":{}}', headers=headers)

    assert answer.status_code == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/x-ndjson"])
async def test_another_type_is_415(client: httpx.AsyncClient, kind: str) -> None:
    """Lines are for /v1/events alone."""
    answer = await client.post("/feedback/x", content=b'{"data":{}}', headers={"content-type": kind})

    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
    assert kind in answer.json()["detail"]
