"""Bodies that grow: a real ingest answers each of many at once, and its memory stays bounded."""

import asyncio
import gzip
from pathlib import Path

import httpx
from backports import zstd

from tests.support.stack.offline_services import answers, process

MIB = 1 << 20
AT_ONCE, GROWTH = 4, 400 * MIB
"""Four batches of 100,000 events would take more than a gigabyte at once."""

LINE = b'{"request_id": "a", "data": {"comment": "%b"}}\n' % (b"x" * 110)
BATCH = LINE * 99_000
EXPECTED = {207, 400, 413, 503}
"""Lines that are no JSON, bad compression, what is too large, and what there is no room or Kafka for."""


def bombs() -> dict[str, tuple[str, bytes]]:
    """Return bodies by name, each with its encoding."""
    zeros = gzip.compress(bytes(200 * MIB), 9)
    return {
        "batch": ("gzip", gzip.compress(BATCH, 1)),
        "zeros": ("gzip", zeros),
        "nested": ("gzip", gzip.compress(zeros, 9)),
        "members": ("gzip", gzip.compress(b"\n") * 20_000),
        "frames": ("zstd", zstd.compress(b"\n") * 20_000),
        "empty frames": ("zstd", zstd.compress(b"") * 20_000),
        "window": ("zstd", b"\x28\xb5\x2f\xfd\x00\xf8" + bytes(10)),
    }


async def test_bombs_are_refused_and_the_memory_stays_bounded(tmp_path: Path) -> None:
    """All kinds, four at once; probes answer all the while."""
    async with (
        process("ingest", tmp_path, INGEST_LOOKUP="false") as (url, ingest),
        httpx.AsyncClient(base_url=url, timeout=300) as client,
    ):
        before = most = ingest.memory_info().rss
        for name, (encoding, body) in bombs().items():
            headers = {"content-encoding": encoding, "content-type": "application/x-ndjson"}
            sent = [
                asyncio.create_task(client.post("/v1/events", content=body, headers=headers))
                for _ in range(AT_ONCE)
            ]
            while not all(one.done() for one in sent):
                assert await answers(f"{url}/livez", "", 200)
                most = max(most, ingest.memory_info().rss)
                await asyncio.sleep(0.02)
            assert {one.result().status_code for one in sent} <= EXPECTED, name
        assert most - before < GROWTH
