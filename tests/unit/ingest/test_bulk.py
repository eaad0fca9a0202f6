"""Many events in one request."""

import asyncio
from pathlib import Path

import httpx
import pytest

from services.ingest.core.content import ENCODINGS, RUN_ITEMS
from tests.support.clickhouse.content_encodings import PACK
from tests.support.ingest.app import client_of, code_of, decoded, ingest_over
from tests.support.ingest.fake_log import FakeLog


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            b'[{"request_id":"a","data":{"x":1}},{"data":{}},{"request_id":"b","request":{}}]',
            "application/json",
        ),
        (
            b'{"request_id":"a","data":{"x":1}}\n{"data":{}}\r\n{"request_id":"b","request":{}}\n',
            "application/x-ndjson; charset=utf-8",
        ),
    ],
)
async def test_each_event_of_a_batch_is_judged_alone(
    client: httpx.AsyncClient, log: FakeLog, body: bytes, kind: str
) -> None:
    """One bad item never spoils the rest, in an array or in lines."""
    answer = await client.post("/v1/events", content=body, headers={"content-type": kind})

    assert answer.status_code == 207
    result = answer.json()
    assert (result["accepted"], result["rejected"]) == (2, 1)
    first, second, third = result["items"]
    assert (first["index"], first["status"], first["request_id"]) == (0, "accepted", "a")
    assert second == {
        "index": 1,
        "status": "rejected",
        "error": {
            "code": "invalid_feedback",
            "detail": "request_id is missing: the id of the request that the feedback is about",
            "errors": [
                {
                    "path": "request_id",
                    "detail": "is missing: the id of the request that the feedback is about",
                }
            ],
        },
    }
    assert (third["index"], third["status"], third["request_id"]) == (2, "accepted", "b")
    assert {event["event_id"] for event in decoded(log.events)} == {first["event_id"], third["event_id"]}


BAD_ITEMS = {
    "lone-surrogate": (
        rb'{"request_id":"x","data":{"comment":"\ud83d"}}',
        "invalid_feedback",
        "data.comment",
    ),
    "surrogate-in-key": (rb'{"request_id":"x","data":{"\udc00":1}}', "invalid_feedback", 'data["\ufffd"]'),
    "invalid-utf-8": (b'{"request_id":"x","data":{"a":"\xff"}}', "malformed_json", None),
    "cut-utf-8": (b'{"request_id":"x","data":{"a":"\xe2\x82"}}', "malformed_json", None),
    "huge-float": (b'{"request_id":"x","data":{"a":1e999}}', "invalid_feedback", "data.a"),
    "huge-integer": (b'{"request_id":"x","data":{"a":%b}}' % (b"9" * 5000), "invalid_feedback", "data.a"),
    "deep": (b'{"request_id":"x","data":{"a":%b}}' % (b"[" * 30 + b"]" * 30), "invalid_feedback", None),
    "very-deep": (b"[" * 60_000 + b"]" * 60_000, "invalid_feedback", None),
    "not-a-number": (b'{"request_id":"x","data":{"a":NaN}}', "malformed_json", None),
    "control-character": (b'{"request_id":"x","data":{"a":"\x01"}}', "malformed_json", None),
    "bad-escape": (rb'{"request_id":"x","data":{"a":"\q,]}"}}', "malformed_json", None),
    "no-quotes": (b'{request_id:"x",data:{}}', "malformed_json", None),
    "no-json": (b"undefined", "malformed_json", None),
    "no-value": (b'{"request_id":"x","data":}', "malformed_json", None),
    "nothing": (b"", "malformed_json", None),
    "wrong-type": (b"5", "invalid_feedback", ""),
    "too-large": (b'{"request_id":"x","data":{"a":"\\q%b"}}' % (b"]" * (1 << 20)), "too_large", None),
}


@pytest.mark.parametrize(("item", "code", "path"), BAD_ITEMS.values(), ids=BAD_ITEMS)
async def test_no_item_of_an_array_spoils_the_others(
    client: httpx.AsyncClient, log: FakeLog, item: bytes, code: str, path: str | None
) -> None:
    """As long as the array's own brackets and strings can be followed; the same as for lines."""
    good = b'{"request_id":"%b","data":{"a":"]}, [\\" {"}}'
    parts = (good % b"a", item, good % b"b")
    body = b" [%b]\r\n" % b" , ".join(parts)
    answer = await client.post("/v1/events", content=body, headers={"content-type": "application/json"})
    result = answer.json()

    assert (answer.status_code, result["accepted"], result["rejected"]) == (207, 2, 1)
    error = result["items"][1]["error"]
    assert error["code"] == code
    assert path is None or [fault["path"] for fault in error["errors"]] == [path]
    assert sorted(event["request_id"] for event in decoded(log.events)) == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [
        b'[{"request_id":"a","data":{}}',
        b'[{"request_id":"a","data":{}},{"x":"]',
        b"[{}}]",
        b"[[}]",
        b"[NaN] x",
        b"[NaN,%b]" % (b"[" * (3 << 20) + b"]" * (3 << 20)),
    ],
    ids=["cut", "open-string", "closed-twice", "mismatch", "more", "too-many-brackets"],
)
async def test_an_array_that_cannot_be_taken_apart_is_refused(
    client: httpx.AsyncClient, log: FakeLog, body: bytes
) -> None:
    """Whole: where one item ends, and the next begins, would be a guess."""
    answer = await client.post("/v1/events", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, code_of(answer)) == (400, "malformed_json")
    assert not log.events


async def test_a_batch_whose_body_was_lost_is_refused(client: httpx.AsyncClient) -> None:
    """No byte of it came: 207 with no items would be taken for success."""
    for kind in ("application/json", "application/x-ndjson"):
        answer = await client.post("/v1/events", content=b"", headers={"content-type": kind})
        assert (answer.status_code, code_of(answer)) == (400, "malformed_json")


MARK = b"\xef\xbb\xbf"
WITH_MARK = {
    "requesty": ("/feedback/a", "application/json", b'{"data":{"x":1}}'),
    "gptboost": ("/v1/feedback/", "application/json", b'{"message_id":"a","rating":"amazing"}'),
    "facts": ("/v1/requests/a", "application/json", b'{"model":"m"}'),
    "event": ("/v1/events", "application/json", b'{"request_id":"a","data":{}}'),
    "array": ("/v1/events", "application/json", b'[{"request_id":"a","data":{}}]'),
    "broken-array": ("/v1/events", "application/json", b'[{"request_id":"a","data":{}},x]'),
    "lines": ("/v1/events", "application/x-ndjson", b'{"request_id":"a","data":{}}\n'),
}


@pytest.mark.parametrize("encoding", ["identity", *ENCODINGS])
@pytest.mark.parametrize(("path", "kind", "body"), WITH_MARK.values(), ids=WITH_MARK)
async def test_a_byte_order_mark_is_ignored(
    client: httpx.AsyncClient, log: FakeLog, path: str, kind: str, body: bytes, encoding: str
) -> None:
    """Before every kind of body; PowerShell and Excel write it."""
    headers = {"content-type": kind, "content-encoding": encoding}
    content = PACK.get(encoding, bytes)(MARK + body)
    method = "PUT" if "requests" in path else "POST"
    answer = await client.request(method, path, content=content, headers=headers)

    assert answer.status_code in (200, 202, 207)
    assert [event["request_id"] for event in decoded(log.events)] == ["a"]


async def test_lines_of_files_put_together_may_each_begin_with_one(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """As in `cat first.ndjson second.ndjson`."""
    body = (MARK + b'{"request_id":"a","data":{}}\n') * 2
    answer = await client.post("/v1/events", content=body, headers={"content-type": "application/x-ndjson"})

    assert answer.json()["accepted"] == len(log.events) == 2


@pytest.mark.parametrize("others", [0, RUN_ITEMS])
async def test_each_event_of_a_batch_has_its_own_warnings(client: httpx.AsyncClient, others: int) -> None:
    """Also among events that are taken in one run."""
    times = ["2026-01-02T03:04:05+0100", "2026-13-02", *["2026-01-02"] * others, 1767323045123456, -1]
    body = [{"request_id": f"r{number}", "request": {"started_at": at}} for number, at in enumerate(times)]
    answer = await client.post("/v1/events", json=[*body, {"request_id": "none", "data": {}}])

    items = answer.json()["items"]
    assert answer.json()["accepted"] == len(times) + 1
    assert [item["index"] for item in items if "warnings" in item] == [1, len(times) - 1]
    assert items[1]["warnings"][0]["key"] == "request.started_at"


async def test_lines_are_counted_with_the_blank_ones(client: httpx.AsyncClient) -> None:
    """An item's index leads to its line in the sender's file."""
    body = b'\n{"request_id":"a","data":{}}\n  \n7\n'
    answer = await client.post("/v1/events", content=body, headers={"content-type": "application/x-ndjson"})

    assert [(item["index"], item["status"]) for item in answer.json()["items"]] == [
        (1, "accepted"),
        (3, "rejected"),
    ]


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "application/json"), (b"\n", "application/x-ndjson")])
async def test_an_empty_batch_is_no_mistake(client: httpx.AsyncClient, body: bytes, kind: str) -> None:
    """Nothing sent, nothing accepted."""
    answer = await client.post("/v1/events", content=body, headers={"content-type": kind})

    assert answer.status_code == 207
    assert answer.json() == {"accepted": 0, "rejected": 0, "items": []}


async def test_a_batch_has_a_largest_number_of_events(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Beyond it nothing of the batch is written."""
    for body, kind in (
        (b"[" + b"1," * 100_000 + b"1]", "application/json"),
        (b"1\n" * 100_001, "application/x-ndjson"),
        (b"[" + b"1," * (5 << 20) + b"1]", "application/json"),
        (b"\n" * 300_000, "application/x-ndjson"),
    ):
        answer = await client.post("/v1/events", content=body, headers={"content-type": kind})
        assert (answer.status_code, code_of(answer)) == (413, "too_large")
    assert not log.events


async def test_in_a_batch_size_is_judged_event_by_event(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Only the one that is too large is refused; a single object has the limit of a single body."""
    events = [{"request_id": "a", "data": {"x": "a" * (600 * 1024)}}, {"request_id": "b", "data": {}}]
    answer = await client.post("/v1/events", json=events)
    spaces = await client.post("/v1/events", json=[events[1]], headers={"x": "y"})
    single = await client.post("/v1/events", content=b'{"request_id":"a","data":{}}' + b" " * (1 << 20))
    over = await client.post("/v1/events", content=b"[" + b" " * (16 << 20) + b"]")

    assert [item.get("error", {}).get("code") for item in answer.json()["items"]] == ["too_large", None]
    assert spaces.status_code == 207
    assert (single.status_code, code_of(single)) == (413, "too_large")
    assert (over.status_code, code_of(over)) == (413, "too_large")


async def test_a_log_that_is_away_is_503_with_retry_after(client: httpx.AsyncClient, log: FakeLog) -> None:
    """For one event and for a batch of which none was taken."""
    log.problem = "away"
    for answer in (
        await client.post("/feedback/r", json={"data": {}}),
        await client.post("/v1/feedback/", json={"message_id": "r", "rating": "positive"}),
        await client.post("/v1/events", json=[{"request_id": "r", "data": {}}, 7]),
        await client.delete("/feedback/r"),
    ):
        assert (answer.status_code, code_of(answer)) == (503, "log_unavailable")
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "failing", "failing": {"log": "away"}})
    assert (await client.get("/livez")).status_code == 200


async def test_after_the_first_refusal_the_rest_of_a_batch_is_refused(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """So that no later event of a request is written before an earlier one that must be sent again."""
    log.fail_after = 2
    events: list[object] = [{"request_id": f"r{number}", "data": {}} for number in range(4)]
    answer = await client.post("/v1/events", json=[*events, 7])

    assert answer.status_code == 207
    codes = [item.get("error", {}).get("code") for item in answer.json()["items"]]
    assert codes == [None, None, "log_unavailable", "log_unavailable", "invalid_feedback"]
    assert len(log.events) == 2


async def test_a_batch_stops_when_earlier_events_were_dropped(tmp_path: Path) -> None:
    """A log whose epoch changes while a batch is read takes no more of it."""

    class Fickle(FakeLog):
        def publish(self, key: bytes, value: bytes) -> asyncio.Future[int]:
            future = super().publish(key, value)
            self.epoch += len(self.events) == RUN_ITEMS
            return future

    log = Fickle()
    events = [{"request_id": "r", "data": {"n": number}} for number in range(2 * RUN_ITEMS)]
    answer = await client_of(ingest_over(log, tmp_path)).post("/v1/events", json=events)

    assert answer.json()["accepted"] == RUN_ITEMS
    assert [event["data"]["n"] for event in decoded(log.events)] == list(range(RUN_ITEMS))
