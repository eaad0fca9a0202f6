"""What a body may say: the faults, the edges, the sizes."""

import httpx
import pytest

from services.ingest.dialects import gptboost
from tests.support.ingest.app import code_of, decoded, paths_of
from tests.support.ingest.fake_log import FakeLog


@pytest.mark.parametrize("key", ["", "x" * 257, "a\tb", "ü"])
async def test_an_idempotency_key_is_short_and_visible(client: httpx.AsyncClient, key: str) -> None:
    """Anything else is refused rather than cut."""
    answer = await client.post(
        "/feedback/r", json={"data": {}}, headers={b"idempotency-key": key.encode("latin-1")}
    )

    assert (answer.status_code, code_of(answer)) == (422, "invalid_feedback")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/feedback/x"), ("POST", "/v1/feedback/"), ("POST", "/v1/events"), ("PUT", "/v1/requests/x")],
)
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"data":{"x":NaN},"request_id":"x"}', 400, "malformed_json"),
        (b'{"data":{"x":-Infinity}}', 400, "malformed_json"),
        (b'{"data":{"x":"\xed\xa0\x80"}}', 400, "malformed_json"),
        (b'{"data":{"x":"\x01"}}', 400, "malformed_json"),
        (b"null", 422, "invalid_feedback"),
        (b'"text"', 422, "invalid_feedback"),
        (b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}", None, None),
        (b'{"data":' + b"[" * 100_000, None, None),
    ],
)
async def test_no_body_whatever_makes_a_server_error(
    client: httpx.AsyncClient,
    log: FakeLog,
    method: str,
    path: str,
    body: bytes,
    status: int | None,
    code: str | None,
) -> None:
    """What cannot be read is 400, what cannot be feedback is 422; both are problems."""
    answer = await client.request(method, path, content=body)

    assert 400 <= answer.status_code < 500
    found = code_of(answer)
    if status is not None:
        assert (answer.status_code, found) == (status, code)
    assert not log.events


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        (b'{"x":18446744073709551616}', ["data.x"]),
        (b'{"x":-9223372036854775809}', ["data.x"]),
        (b'{"x":[0,' + b"9" * 5000 + b"]}", ["data.x[1]"]),
        (b'{"x":1e999,"y":{"z":-1e400}}', ["data.x", "data.y.z"]),
        (b'{"x":"\\ud800","\\udc00":1}', ["data.x", 'data["\ufffd"]']),
        (b'{"":1,"two words":{"":2}}', ['data[""]', 'data["two words"][""]']),
        (b'{"' + b"k" * 257 + b'":1}', ['data["' + "k" * 40 + '…"]']),
        (b"[]", ["data"]),
        (b"null", ["data"]),
        (b"{" + b",".join(b'"k%d":1' % n for n in range(257)) + b"}", ["data"]),
        (b'{"x":' + b"[" * 16 + b"]" * 16 + b"}", ["data.x" + "[0]" * 15]),
    ],
)
async def test_each_fault_in_the_data_is_named_by_its_path(
    client: httpx.AsyncClient, log: FakeLog, data: bytes, paths: list[str]
) -> None:
    """In every dialect that carries free-form keys."""
    answer = await client.post("/feedback/x", content=b'{"data":%b}' % data)
    assert paths_of(answer) == paths

    native = await client.post("/v1/events", content=b'{"request_id":"x","data":%b}' % data)
    if data != b"null":
        assert paths_of(native) == paths_of(answer)
    assert not log.events


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b'{"x":1,"x":{"y":1,"y":2}}', {"x": {"y": 2}}),
        (b'{"x":1e400,"x":5}', {"x": 5}),
        (b'{"x":18446744073709551615,"y":-9223372036854775808}', {"x": 2**64 - 1, "y": -(2**63)}),
        (b'{"x":' + b"[" * 15 + b"]" * 15 + b"}", None),
        (b"{" + b",".join(b'"k%d":1' % n for n in range(256)) + b"}", None),
        (b'{"' + "🙂".encode() * 256 + b'":"\\ud83d\\ude42\\u0000"}', {"🙂" * 256: "🙂\0"}),
        (b'{"x":-0.0,"y":1e-400,"z":1E2}', {"x": -0.0, "y": 0.0, "z": 100.0}),
        (b"{}", {}),
    ],
)
async def test_the_edges_of_what_is_allowed_are_inside(
    client: httpx.AsyncClient, log: FakeLog, data: bytes, kept: dict[str, object] | None
) -> None:
    """The largest, deepest and strangest that is accepted; of duplicate keys the last wins."""
    answer = await client.post("/feedback/x", content=b'{"data":%b}' % data)

    assert answer.status_code == 202
    if kept is not None:
        assert decoded(log.events)[0]["data"] == kept


@pytest.mark.parametrize(
    ("event", "paths"),
    [
        ({"data": {}}, ["request_id"]),
        ({"request_id": 7, "data": {}}, ["request_id"]),
        ({"request_id": "", "data": {}}, ["request_id"]),
        ({"request_id": "a\nb", "data": {}}, ["request_id"]),
        ({"request_id": "x"}, [""]),
        ({"request_id": "x", "data": None}, [""]),
        ({"request_id": "x", "dta": {}, "op": "undo"}, ["dta", "op"]),
        ({"request_id": "x", "op": None, "data": {}}, ["op"]),
        ({"request_id": "x", "op": "retract", "data": {}}, ["op"]),
        ({"request_id": "x", "op": "erase", "request": {}}, ["op"]),
        ({"request_id": "x", "data": 1, "request": []}, ["data", "request"]),
        ({"request_id": "x", "data": {}, "item_id": ""}, ["item_id"]),
        ({"request_id": "x", "data": {}, "item_id": 7}, ["item_id"]),
        ({"request_id": "x", "data": {}, "item_id": "a\nb"}, ["item_id"]),
        ({"request_id": "x", "op": "retract", "item_id": "a" * 257}, ["item_id"]),
        ({"request_id": "x", "data": {}, "at": "yesterday"}, ["at"]),
        ({"request_id": "x", "op": "erase", "at": True}, ["at"]),
        ([[]], None),
    ],
)
async def test_a_native_event_is_judged_field_by_field(
    client: httpx.AsyncClient, event: object, paths: list[str] | None
) -> None:
    """Unknown fields are typing errors here: nothing is dropped silently."""
    answer = await client.post("/v1/events", json=event)

    if paths is None:
        assert answer.json()["items"][0]["error"]["errors"][0]["path"] == ""
    else:
        assert paths_of(answer) == paths


@pytest.mark.parametrize(
    ("vote", "paths"),
    [
        ({}, ["message_id", "rating"]),
        ({"message_id": 1, "rating": "good"}, ["message_id", "rating"]),
        ({"message_id": "m", "rating": "Positive"}, ["rating"]),
        ({"message_id": "m", "rating": ["positive"]}, ["rating"]),
        ({"message_id": "", "rating": "positive"}, ["message_id"]),
        ({"message_id": "m", "rating": "positive", "comment": 5}, ["comment"]),
        ({"message_id": "m", "rating": "positive", "tags": "a"}, ["tags"]),
        ({"message_id": "m", "rating": "positive", "tags": ["a", 1, None]}, ["tags[1]", "tags[2]"]),
        ({"message_id": "m", "rating": "positive", "extra": 2**64}, ["extra"]),
    ],
)
async def test_a_vote_is_judged_field_by_field(
    client: httpx.AsyncClient, log: FakeLog, vote: object, paths: list[str]
) -> None:
    """The two required fields, the three words, strings in tags."""
    answer = await client.post("/gptboost/v1/feedback/", json=vote)

    assert paths_of(answer) == paths
    assert not log.events


async def test_at_most_twenty_faults_are_named(client: httpx.AsyncClient) -> None:
    """A body full of them makes no endless answer."""
    answer = await client.post("/feedback/x", json={"data": {"x": [2**64] * 1000}})

    assert len(paths_of(answer)) == 20


async def test_sizes_are_limited_by_what_is_written(client: httpx.AsyncClient, log: FakeLog) -> None:
    """512 KiB of event, 1 MiB of body: escapes and white space may take more than what they stand for."""
    room = 512 * 1024 - 220
    fits = await client.post("/feedback/x", json={"data": {"x": "a" * room}})
    escaped = await client.post("/feedback/x", content=b'{"data":{"x":"%b"}}' % (b"\\u00fc" * 170_000))
    large = await client.post("/feedback/x", json={"data": {"x": "a" * 512 * 1024}})
    body = await client.post("/feedback/x", content=b'{"data":{}}' + b" " * (1 << 20))

    assert (fits.status_code, escaped.status_code) == (202, 202)
    assert (large.status_code, code_of(large)) == (413, "too_large")
    assert (body.status_code, code_of(body)) == (413, "too_large")
    assert len(log.events) == 2
    assert max(map(len, log.events)) <= 512 * 1024


def test_a_repeat_adds_nothing() -> None:
    """Rating, comment and tags alike, an empty one as good as none; and nothing beside them that is new."""
    stored = {"rating": "positive", "comment": "x", "tags": [], "page": 1}
    same = {"rating": "positive", "comment": "x"}

    assert gptboost.repeats(stored, same)
    assert gptboost.repeats(stored, {**same, "page": 1})
    assert not gptboost.repeats(stored, {**same, "page": 2})
    assert not gptboost.repeats(stored, {**same, "tags": ["a"]})
    assert not gptboost.repeats(stored, {"rating": "positive"})
    assert not gptboost.repeats(stored, {**same, "rating": "negative"})
    assert not gptboost.repeats({}, same)
