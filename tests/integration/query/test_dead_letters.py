"""`GET /v1/dead-letters` and its page, over a real ClickHouse engine."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from schemas.tables import DEAD_LETTERS
from services.query.reads.core.dead_letters import MAX_RAW_BYTES
from services.runtime.clickhouse.client import INSERT_SETTINGS, connect
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.sink.core.rows import DEAD_LETTER_COLUMNS
from tests.support.clickhouse.tables import insert
from tests.support.merger.manual_stages import Stages
from tests.support.query.app import client_of, faults_of, query_over, reading_key


@pytest.fixture
def stages(query_tables: ClickHouseSettings, tenant: str) -> Stages:
    """A request whose rows, events and dead letters a test stores; there is no Kafka."""
    return Stages(KafkaSettings(), query_tables, tenant)


@pytest.fixture
async def reader(stages: Stages, tmp_path: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A reader of the tenant's rows."""
    key = reading_key(tmp_path, tenant=stages.tenant)
    async with client_of(query_over(stages.clickhouse, tmp_path), key) as client:
        yield client


async def letters(reader: httpx.AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    """Ask for dead letters, page after page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await reader.get("/v1/dead-letters", params={**parameters, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
    return found


def offsets(found: list[dict[str, Any]]) -> list[int]:
    """Return which dead letters these are."""
    return [int(letter["id"].rpartition("/")[2]) for letter in found]


def topic_of(stages: Stages) -> str:
    """Return a dead-letter topic of the tenant's own, since all tests share the table."""
    return f"{stages.tenant}-dlq"


async def store(stages: Stages, *rows: dict[str, Any]) -> None:
    """Store dead letters, whose offsets count from 0."""
    made = [stages.letter(number, dlq_topic=topic_of(stages), **row) for number, row in enumerate(rows)]
    await insert(stages.clickhouse, DEAD_LETTERS, made)


async def test_each_filter_keeps_what_it_names(stages: Stages, reader: httpx.AsyncClient) -> None:
    """By stage, reason, state, request and time; all of them together too."""
    at = "2026-11-22T0{}:00:00.000001Z".format
    await store(
        stages,
        {"failed_at": at(1)},
        {"failed_at": at(2), "reason": "crashed", "replayed_at": at(3)},
        {"failed_at": at(3), "stage": "sink", "reason": "refused_by_clickhouse", "request_id": "r/2"},
        {"failed_at": at(4), "dropped_at": at(5)},
    )

    assert offsets(await letters(reader)) == [3, 2, 1, 0]
    assert offsets(await letters(reader, stage="sink")) == [2]
    assert offsets(await letters(reader, reason="row_too_large")) == [3, 0]
    assert offsets(await letters(reader, state="open")) == [2, 0]
    assert offsets(await letters(reader, state="replayed")) == [1]
    assert offsets(await letters(reader, state="dropped")) == [3]
    assert offsets(await letters(reader, request_id="r/2")) == [2]
    assert offsets(await letters(reader, **{"from": at(2), "to": at(4)})) == [2, 1]
    assert offsets(await letters(reader, stage="merger", state="open", to=at(2))) == [0]


async def test_pages_show_each_one_once(stages: Stages, reader: httpx.AsyncClient) -> None:
    """Newest first, those of one moment in the order of their offsets."""
    moments = [f"2026-11-22T08:00:0{number // 4}.000001Z" for number in range(14)]
    await store(stages, *({"failed_at": moment} for moment in moments))

    found = offsets(await letters(reader, limit=3))

    assert found == sorted(range(14), key=lambda number: (moments[number], number), reverse=True)


async def test_the_record_is_shown_as_it_is(stages: Stages, reader: httpx.AsyncClient) -> None:
    """As text or in base64; whole, or cut between two characters; none where there was none."""
    raws = [b'{"comment":"\xc3\xbc\xf0\x9f\x91\x8d"}', b"\xff\x00{", b"", None]
    values = [None if raw is None else base64.b64encode(raw).decode() for raw in raws]
    rows = [stages.letter(number, dlq_topic=topic_of(stages)) for number in range(len(raws))]
    for row, value in zip(rows, values, strict=True):
        del row["raw"], row["key"]
        row |= {"raw_base64": value, "key_base64": ""}
    client = await connect(stages.clickhouse)
    try:
        body = b"\n".join(map(orjson.dumps, rows))
        await client.raw_insert(
            DEAD_LETTERS, list(DEAD_LETTER_COLUMNS), body, settings=dict(INSERT_SETTINGS), fmt="JSONEachRow"
        )
    finally:
        await client.close()

    found = await letters(reader)
    whole = dict(zip(offsets(found), found, strict=True))
    cut = await letters(reader, raw_bytes=17)

    assert [whole[number]["raw"] for number in range(4)] == ['{"comment":"ü👍"}', "/wB7", "", None]
    assert [whole[number]["raw_encoding"] for number in range(4)] == ["utf-8", "base64", "utf-8", None]
    assert [whole[number]["raw_bytes"] for number in range(4)] == [20, 3, 0, None]
    assert (cut[-1]["raw"], cut[-1]["raw_truncated"]) == ('{"comment":"ü', True)
    assert not any(letter["raw_truncated"] for letter in whole.values())


async def test_a_tenant_sees_only_its_own(stages: Stages, reader: httpx.AsyncClient) -> None:
    """A dead letter without a tenant belongs to no key, whatever its scopes."""
    await store(stages, {"tenant": "", "request_id": ""}, {"tenant": f"{stages.tenant}-2"}, {})

    assert offsets(await letters(reader)) == [2]
    page = await reader.get("/dead-letters")
    assert page.text.count('class="card dead-letter"') == 1


async def test_what_was_erased_since_is_not_shown(stages: Stages, reader: httpx.AsyncClient) -> None:
    """That it was given up stays; what it said goes.  What came after the erase stays as it is."""
    await store(stages, {"raw": "secret"}, {}, {"raw": "after"})
    await stages.store_event(1, op="erase")

    after, at, before = await letters(reader)

    assert (before["erased"], before["raw"], before["detail"]) == (True, None, "")
    assert at["erased"]
    assert (after["erased"], after["raw"]) == (False, "after")
    page = (await reader.get("/dead-letters")).text
    assert "secret" not in page
    assert "was erased since" in page


async def test_faults_of_the_question_are_reported_together(reader: httpx.AsyncClient) -> None:
    """Unknown names and values, cursors that are none, and more bytes than an answer may have."""
    answer = await reader.get(
        f"/v1/dead-letters?stage=x&reason=y&state=z&from=never&limit=200&cursor=abc&raw_bytes={MAX_RAW_BYTES}&statte=open"
    )

    faults = faults_of(answer)
    assert faults.keys() == {"stage", "reason", "state", "from", "cursor", "raw_bytes", "statte"}
    for cursor in ("W10", "WzEsMiwzLDRd", "e30", "a" * 5000, "_w"):
        assert "cursor" in faults_of(await reader.get(f"/v1/dead-letters?cursor={cursor}"))


async def test_the_page_shows_what_happened_and_what_to_do(stages: Stages, reader: httpx.AsyncClient) -> None:
    """In words, escaped, the open ones first; the others one click away."""
    nothing = (await reader.get("/dead-letters")).text
    assert "No open dead letters" in nothing
    await store(
        stages,
        {"reason": "idempotency_conflict", "raw": "<script>alert(1)</script>"},
        {"reason": "crashed", "replayed_at": "2026-11-22T09:00:00Z"},
    )

    page = await reader.get("/dead-letters")
    everything = await reader.get("/dead-letters?state=any")
    replayed = await reader.get("/dead-letters?state=replayed&reason=crashed")
    none = await reader.get("/dead-letters?reason=row_too_large")

    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "An Idempotency-Key was reused" in page.text
    assert "with a new key" in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script>alert" not in page.text
    assert [one.text.count('class="card dead-letter"') for one in (page, everything, replayed, none)] == [
        1,
        2,
        1,
        0,
    ]
    assert "No dead letters match these filters" in none.text


async def test_the_page_has_pages(stages: Stages, reader: httpx.AsyncClient) -> None:
    """The link to the older ones keeps what was asked."""
    await store(stages, *({"reason": "crashed"} for _ in range(27)))

    first = (await reader.get("/dead-letters?reason=crashed")).text
    older = first.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = (await reader.get(older)).text

    assert "reason=crashed" in older
    assert [page.count('class="card dead-letter"') for page in (first, second)] == [25, 2]
    assert 'rel="next"' not in second
