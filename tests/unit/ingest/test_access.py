"""Which client may do what: keys, scopes, browsers, rates."""

import asyncio
import json
from pathlib import Path
from traceback import format_exception

import httpx
import pytest
from structlog.testing import capture_logs

from services.runtime.http.keys import Scope
from tests.support.ingest.app import client_of, code_of, decoded, ingest_over, new_key
from tests.support.ingest.fake_log import FakeLog


async def test_erasing_needs_an_admin_key(log: FakeLog, tmp_path: Path) -> None:
    """A key that only writes, a path that only writes, and a batch item are refused."""
    writer, admin = new_key(tmp_path, Scope.WRITE), new_key(tmp_path, Scope.ADMIN)
    app = ingest_over(log, tmp_path)
    erase = {"request_id": "x", "op": "erase"}
    refused = await client_of(app, writer).post("/v1/events", json=erase)
    item = await client_of(app, writer).post("/v1/events", json=[erase])
    by_path = await client_of(app).post(f"/k/{admin}/v1/events", json=erase)
    done = await client_of(app, admin).post("/v1/events", json=erase)

    assert (refused.status_code, code_of(refused)) == (403, "forbidden")
    assert item.json()["items"][0]["error"]["code"] == "forbidden"
    assert (by_path.status_code, code_of(by_path)) == (403, "forbidden")
    assert done.status_code == 202
    assert [event["op"] for event in decoded(log.events)] == ["erase"]


async def test_a_key_decides_the_tenant(log: FakeLog, tmp_path: Path) -> None:
    """Through each way of sending it; no header or body can name another tenant."""
    key = new_key(tmp_path, tenant="acme")
    client = client_of(ingest_over(log, tmp_path))
    body = {"data": {"tenant": "other"}}
    answers = [
        await client.post("/feedback/r", json=body, headers={"authorization": f"bearer  {key}"}),
        await client.post("/feedback/r", json=body, headers={"x-api-key": key}),
        await client.post(f"/k/{key}/feedback/r", json=body),
    ]

    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert {event["tenant"] for event in decoded(log.events)} == {"acme"}
    assert {record[0] for part in log.partitions for record in part} == {b"acme/r"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Basic {key}"},
        {"authorization": "{key}"},
        {"x-api-key": ""},
        {"authorization": "Bearer {key}x"},
    ],
)
async def test_without_a_known_key_nothing_is_read(
    log: FakeLog, tmp_path: Path, headers: dict[str, str]
) -> None:
    """401 says how to send one; the body does not matter."""
    key = new_key(tmp_path)
    client = client_of(ingest_over(log, tmp_path))
    sent = {name: value.format(key=key) for name, value in headers.items()}
    answer = await client.post("/feedback/r", content=b"no json", headers=sent)

    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not log.events


async def test_a_key_that_only_reads_may_not_write(log: FakeLog, tmp_path: Path) -> None:
    """By header and by path."""
    key = new_key(tmp_path, Scope.READ)
    client = client_of(ingest_over(log, tmp_path))
    for path, headers in (("/feedback/r", {"x-api-key": key}), (f"/k/{key}/feedback/r", {})):
        answer = await client.post(path, json={"data": {}}, headers=headers)
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "localhost.evil.example:8080"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
async def test_without_keys_only_this_machine_is_served(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """A page from elsewhere is refused, whatever its name leads to."""
    for method, path in (
        ("POST", "/feedback/r"),
        ("POST", "/k/any/feedback/r"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
    ):
        answer = await client.request(method, path, json={"data": {}}, headers=headers)
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8080", "authorization": "Bearer anything"},
        {"host": "[::1]:8080", "x-api-key": "ignored"},
        {"host": "127.0.0.9", "origin": "http://localhost:3000"},
        {"host": "app.localhost"},
    ],
)
async def test_without_keys_this_machine_is_served_whatever_key_it_sends(
    client: httpx.AsyncClient, log: FakeLog, headers: dict[str, str]
) -> None:
    """The tenant is the default one."""
    answer = await client.post("/feedback/r", json={"data": {}}, headers=headers)

    assert answer.status_code == 202
    assert decoded(log.events)[0]["tenant"] == "default"


async def test_only_paths_with_a_key_are_for_browsers(log: FakeLog, tmp_path: Path) -> None:
    """CORS there, errors included, and nowhere else; beacons go with cookies, which need a named origin."""
    key = new_key(tmp_path)
    client = client_of(ingest_over(log, tmp_path), origin="https://shop.example")
    preflight = await client.options(
        f"/k/{key}/feedback/r", headers={"access-control-request-method": "POST"}
    )
    posted = await client.post(f"/k/{key}/feedback/r", json={"data": {}})
    failed = await client.post("/k/wrong/feedback/r", json={"data": {}})
    elsewhere = await client.post("/feedback/r", json={"data": {}}, headers={"x-api-key": key})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "POST, DELETE"
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    for answer in (preflight, posted, failed):
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "origin" in answer.headers["vary"]
    odd = await client.post(f"/k/{key}/feedback/r", json={"data": {}}, headers={"origin": "a b"})
    assert odd.headers["access-control-allow-origin"] == "*"
    assert (posted.status_code, failed.status_code, elsewhere.status_code) == (202, 401, 202)
    assert "access-control-allow-origin" not in elsewhere.headers


async def test_a_tenant_over_its_rate_gets_a_retry_after(log: FakeLog, tmp_path: Path) -> None:
    """429 with Retry-After; other tenants continue."""
    one, other = new_key(tmp_path, tenant="one"), new_key(tmp_path, tenant="other")
    app = ingest_over(log, tmp_path, ingest_events_per_second=0.1)
    burst = [await client_of(app, one).post("/feedback/r", json={"data": {}}) for _ in range(2)]
    free = await client_of(app, other).post("/v1/events", json=[{"request_id": "x", "data": {}}])
    batch = await client_of(app, other).post("/v1/events", json=[{"request_id": "x", "data": {}}])

    assert [answer.status_code for answer in burst] == [202, 429]
    assert code_of(burst[1]) == "rate_limited"
    assert 1 <= int(burst[1].headers["retry-after"]) <= 11
    assert (free.status_code, batch.status_code) == (207, 429)


async def test_a_failure_of_ours_is_a_problem_too_and_its_log_holds_no_key(tmp_path: Path) -> None:
    """500, with the path in the log, but not the key in the path."""

    class Broken(FakeLog):
        def publish(self, *_: bytes) -> asyncio.Future[int]:
            raise RuntimeError("bug")

    key = new_key(tmp_path)
    client = client_of(ingest_over(Broken(), tmp_path))
    with capture_logs() as logged:
        answer = await client.post(f"/k/{key}/feedback/r", json={"data": {}})
    [entry] = [entry for entry in logged if entry["log_level"] == "error"]
    trace = "".join(format_exception(entry.pop("exc_info")))

    assert (answer.status_code, code_of(answer)) == (500, "internal_error")
    assert entry["path"] == "/k/***/feedback/r"
    assert "RuntimeError: bug" in trace
    assert key not in trace + str(entry)


async def test_who_erases_and_who_tried_to_is_in_the_audit_log(log: FakeLog, tmp_path: Path) -> None:
    """Before and after, with the key's id, the tenant and the requests; singly, in batches, and by path."""
    writer, admin = new_key(tmp_path, Scope.WRITE), new_key(tmp_path, Scope.ADMIN)
    app = ingest_over(log, tmp_path)
    erase = {"request_id": "x", "op": "erase"}
    await client_of(app, admin).post("/v1/events", json=erase)
    await client_of(app, admin).post("/v1/events", json=[erase, {"request_id": "y", "data": {}}, erase])
    await client_of(app, writer).post("/v1/events", json=erase)
    await client_of(app, writer).post("/v1/events", json=[{"request_id": "y", "data": {}}])
    acts = [json.loads(line) for line in (tmp_path / "audit.ndjson").read_text().splitlines()]

    assert [(act["outcome"], act.get("requests")) for act in acts] == [
        ("begun", ["x"]),
        ("done", ["x"]),
        ("begun", None),
        ("done", ["x", "x"]),
        ("refused", ["x"]),
    ]
    assert {act["tenant"] for act in acts} == {"default"}
    assert len({act["key"] for act in acts}) == 2
    assert not {writer, admin} & set((tmp_path / "audit.ndjson").read_text().split('"'))


async def test_refused_erasures_cannot_fill_the_disk(log: FakeLog, tmp_path: Path) -> None:
    """Refused tries are written down so often and no more."""
    client = client_of(ingest_over(log, tmp_path), new_key(tmp_path))
    for _ in range(50):
        assert (await client.post("/v1/events", json={"request_id": "x", "op": "erase"})).status_code == 403

    assert len((tmp_path / "audit.ndjson").read_text().splitlines()) < 40


async def test_nothing_is_erased_that_cannot_be_written_down(log: FakeLog, tmp_path: Path) -> None:
    """500 for an erasure, alone and in a batch; everything else continues."""
    (tmp_path / "audit.ndjson").mkdir()
    client = client_of(ingest_over(log, tmp_path))
    erase, event = {"request_id": "x", "op": "erase"}, {"request_id": "y", "data": {}}
    alone = await client.post("/v1/events", json=erase)
    batch = await client.post("/v1/events", json=[erase, event])

    assert (alone.status_code, code_of(alone)) == (500, "internal_error")
    assert [item["status"] for item in batch.json()["items"]] == ["rejected", "accepted"]
    assert [one["op"] for one in decoded(log.events)] == ["merge"]
