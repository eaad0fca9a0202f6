"""Compressed bodies: what comes out, what is refused, and that a bomb never goes off."""

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import httpx
import pytest

from services.ingest.core.content import decompress, encoding_of
from services.ingest.core.errors import Code, Rejection
from tests.support.ingest.app import code_of, decoded
from tests.support.ingest.fake_log import FakeLog

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY = b'{"data":{"rating":5,"text":"' + b"words and words " * 5000 + b'"}}'
Spoil = Callable[[bytes], bytes]
COMPRESS: dict[str, Spoil] = {"gzip": gzip.compress, "zstd": zstd.compress}


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("body", [BODY, b'{"data":{}}'])
async def test_a_compressed_body_is_read_as_if_it_were_plain(
    client: httpx.AsyncClient, log: FakeLog, encoding: str, body: bytes
) -> None:
    """Small ones at once, large ones beside the event loop."""
    answer = await client.post(
        "/feedback/x", content=COMPRESS[encoding](body), headers={"content-encoding": encoding}
    )

    assert answer.status_code == 202
    assert len(decoded(log.events)[0]["data"]) == (2 if body is BODY else 0)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_multiple_streams_in_a_row_are_one_body(encoding: str) -> None:
    """As both formats have it; an empty one counts too."""
    compress = COMPRESS[encoding]
    body = compress(BODY[:1000]) + compress(b"") + compress(BODY[1000:])

    assert decompress(encoding, body, len(BODY)) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_the_limit_is_on_what_comes_out(encoding: str) -> None:
    """Exactly the limit is inside, one byte more is not."""
    body = COMPRESS[encoding](BODY)

    assert decompress(encoding, body, len(BODY)) == BODY
    with pytest.raises(Rejection) as refused:
        decompress(encoding, body, len(BODY) - 1)
    assert refused.value.code is Code.TOO_LARGE


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_takes_no_more_memory_than_the_limit(encoding: str) -> None:
    """A gigabyte of zeros in a few kilobytes, in one stream or in many."""
    pieces = COMPRESS[encoding](bytes(1 << 20))
    stream = zlib.compressobj(9, wbits=31) if encoding == "gzip" else zstd.ZstdCompressor()
    one = b"".join([stream.compress(bytes(1 << 20)) for _ in range(64)] + [stream.flush()])
    tracemalloc.start()
    try:
        for bomb in (one, pieces * 64):
            with pytest.raises(Rejection):
                decompress(encoding, bomb, 1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 16 << 20


def test_a_frame_cannot_ask_for_a_huge_window() -> None:
    """The window of a zstd frame is memory too, whatever the frame's length."""
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    stream = zstd.ZstdCompressor(options=options)
    frame = stream.compress(BODY) + stream.flush()

    with pytest.raises(Rejection) as refused:
        decompress("zstd", frame, 1 << 20)
    assert refused.value.code is Code.MALFORMED_JSON


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize(
    "spoil", [lambda body: body[:-1], lambda body: body + b"x", lambda _: b"", lambda _: b"{}"]
)
async def test_a_broken_stream_is_malformed(client: httpx.AsyncClient, encoding: str, spoil: Spoil) -> None:
    """Cut short, with something behind it, empty, or not compressed at all."""
    body = spoil(COMPRESS[encoding](b'{"data":{}}'))
    answer = await client.post("/feedback/x", content=body, headers={"content-encoding": encoding})

    assert (answer.status_code, code_of(answer)) == (400, "malformed_json")


def test_many_empty_streams_are_not_worth_the_work() -> None:
    """They decompress to nothing, one after the other."""
    with pytest.raises(Rejection):
        decompress("gzip", gzip.compress(b"") * 5000, 1 << 20)


async def test_another_encoding_is_415_and_shows_which_there_are(client: httpx.AsyncClient) -> None:
    """Accept-Encoding as RFC 9110 has it for answers to a Content-Encoding."""
    for encoding in ("br", "deflate", "gzip, gzip"):
        answer = await client.post("/feedback/x", content=b"{}", headers={"content-encoding": encoding})
        assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
        assert answer.headers["accept-encoding"] == "gzip, zstd"


@pytest.mark.parametrize(
    ("header", "name"),
    [(None, None), (b"identity", None), (b" GZIP", "gzip"), (b"x-gzip", "gzip"), (b"zstd", "zstd")],
)
def test_encodings_have_multiple_names(header: bytes | None, name: str | None) -> None:
    """Case and spaces do not matter."""
    assert encoding_of(header) == name
