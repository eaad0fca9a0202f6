"""What HTTP clients send beside plain requests, in raw bytes: what is answered is what the log has."""

import asyncio
import gzip
from typing import Any

import orjson
import pytest

from tests.integration.ingest.conftest import Running

LINES = b'{"request_id":"%b-1","data":{"rating":5}}\n{"request_id":"%b-2","data":{"rating":4}}\n'
H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"


async def said(ingest: Running, *pieces: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Send pieces on one connection and end its sending side; return each answer's status and body."""
    host, port = ingest.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
    rest = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    answers = []
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        body, rest = rest[:length], rest[length:]
        if (status := int(head.split(b" ")[1])) >= 200:
            answers.append((status, orjson.loads(body) if body[:1] == b"{" else {"text": body.decode()}))
    return answers


def head(ingest: Running, path: bytes, *fields: bytes, tenant: str = "default") -> bytes:
    """Return the head of a request with a tenant's key."""
    key = ingest.keys[tenant].encode()
    first = (b"POST %b HTTP/1.1" % path, b"host: localhost", b"authorization: Bearer " + key)
    return b"\r\n".join([*first, *fields, b"", b""])


async def tenants(ingest: Running, prefix: str) -> dict[str, str]:
    """Return the tenant of each request in the log whose id begins so."""
    events = [event for partition in await ingest.log() for event in partition]
    return {one["request_id"]: one["tenant"] for one in events if one["request_id"].startswith(prefix)}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_batch_that_asks_for_http_2_is_read(ingest: Running, chunked: bool) -> None:  # noqa: FBT001
    """And the event behind it on the same connection, which Java's HttpClient reuses."""
    name = b"h2c-%d" % chunked
    body = LINES % (name, name)
    framing, sent = b"content-length: %d" % len(body), body
    if chunked:
        framing, sent = b"transfer-encoding: chunked", b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    kind = b"content-type: application/x-ndjson"
    batch = head(ingest, b"/v1/events", kind, framing).removesuffix(b"\r\n") + H2C + b"\r\n" + sent
    event = b'{"data":{"rating":3}}'
    single = head(ingest, b"/feedback/%b-3" % name, b"content-length: %d" % len(event)) + event
    answers = await said(ingest, batch[:150], batch[150:], single)

    assert [(status, body.get("accepted")) for status, body in answers] == [(207, 2), (202, None)]
    assert set(await tenants(ingest, name.decode())) == {f"{name.decode()}-{number}" for number in (1, 2, 3)}


async def test_a_trailer_changes_no_tenant(ingest: Running) -> None:
    """However it spells the header that does."""
    trailer = b"Authorization: Bearer %b\r\nx-api-key: %b\r\n" % ((ingest.keys["acme"].encode(),) * 2)
    sent = head(ingest, b"/feedback/trailer-1", b"transfer-encoding: chunked", b"trailer: authorization")
    answers = await said(ingest, sent + b'b\r\n{"data":{}}\r\n0\r\n' + trailer + b"\r\n")

    assert [status for status, _ in answers] == [202]
    assert await tenants(ingest, "trailer-1") == {"trailer-1": "default"}


@pytest.mark.parametrize("field", [b"authorization: Bearer x", b"Idempotency-Key: b", b"content-type: a/b"])
async def test_a_request_with_two_of_a_deciding_header_is_refused(ingest: Running, field: bytes) -> None:
    """In words, with nothing written."""
    fields = (b"idempotency-key: a", b"content-type: application/json", field, b"content-length: 11")
    answers = await said(ingest, head(ingest, b"/feedback/two-1", *fields) + b'{"data":{}}')

    ((status, body),) = answers
    assert status == 400
    assert "was sent more than once" in body["text"]
    assert not await tenants(ingest, "two-1")


async def test_a_client_that_sends_no_more_is_answered(ingest: Running) -> None:
    """A shell's `nc -N`, and clients that end their side of each connection."""
    answers = await said(ingest, head(ingest, b"/feedback/half-1", b"content-length: 11") + b'{"data":{}}')

    assert [(status, body["request_id"]) for status, body in answers] == [(202, "half-1")]
    assert set(await tenants(ingest, "half-1")) == {"half-1"}


async def test_half_a_request_is_not_written(ingest: Running) -> None:
    """The one before it is, and answered."""
    whole = head(ingest, b"/feedback/cut-1", b"content-length: 11") + b'{"data":{}}'
    answers = await said(
        ingest, whole, head(ingest, b"/feedback/cut-2", b"content-length: 12") + b'{"data":{}}'
    )

    assert [body["request_id"] for _, body in answers] == ["cut-1"]
    assert set(await tenants(ingest, "cut-")) == {"cut-1"}


async def test_an_array_with_a_bad_item_behind_a_byte_order_mark_is_written(ingest: Running) -> None:
    """Compressed, as PowerShell would send a file: all that can be read of it."""
    good = b'{"request_id":"bom-%d","data":{"comment":"]["}}'
    items = (good % 1, b'{"request_id":"bom-2","data":{"comment":"\\ud83d"}}', good % 3)
    body = gzip.compress(b"\xef\xbb\xbf[%b]" % b",".join(items))
    async with ingest.client() as client:
        answer = await client.post("/v1/events", content=body, headers={"content-encoding": "gzip"})

    assert answer.status_code == 207
    assert [item["status"] for item in answer.json()["items"]] == ["accepted", "rejected", "accepted"]
    assert answer.json()["items"][1]["error"]["errors"][0]["path"] == "data.comment"
    assert set(await tenants(ingest, "bom-")) == {"bom-1", "bom-3"}
