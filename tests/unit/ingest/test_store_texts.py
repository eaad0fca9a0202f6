"""Prompts and responses are left out of the facts, if the service or the tenant is set so."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from services.runtime.http.keys import Scope
from tests.support.ingest.app import client_of, decoded, ingest_over, new_key
from tests.support.ingest.fake_log import FakeLog

FACTS = {"model": "m", "prompt": "p", "response": ["r"], "messages": [{"role": "user"}]}


@pytest.mark.parametrize(
    ("service", "tenant", "stored"),
    [
        (True, None, FACTS),
        (False, None, {"model": "m"}),
        (True, False, {"model": "m"}),
        (False, True, FACTS),
    ],
)
async def test_texts_are_left_out_if_the_tenant_or_the_service_is_set_so(
    log: FakeLog, tmp_path: Path, *, service: bool, tenant: bool | None, stored: dict[str, Any]
) -> None:
    """Of single events, of batches and of other systems' items; feedback keeps all of its keys."""
    key = new_key(tmp_path, Scope.WRITE)
    if tenant is not None:
        with (tmp_path / "keys.toml").open("a") as file:
            file.write(f"\n[tenants.default]\nstore_texts = {str(tenant).lower()}\n")
    event = {"request_id": "r", "data": {"prompt": "kept"}, "request": FACTS}
    body = {"id": "g", "traceId": "t", "model": "m", "input": "p", "output": "r"}
    envelope = {"id": "e", "type": "generation-create", "body": body}
    async with client_of(ingest_over(log, tmp_path, ingest_store_texts=service), key) as client:
        await client.post("/v1/events", json=event)
        lines = b"\n".join([orjson.dumps(event)] * 2)
        await client.post("/v1/events", content=lines, headers={"content-type": "application/x-ndjson"})
        await client.post("/langfuse/api/public/ingestion", json={"batch": [envelope]})

    own = [one for one in decoded(log.events) if one["request_id"] == "r"]
    (generation,) = [one for one in decoded(log.events) if one["request_id"] == "t:g"]
    assert [one["request"] for one in own] == [stored] * 3
    assert [one["data"] for one in own] == [{"prompt": "kept"}] * 3
    assert {"prompt", "response"} & generation["request"].keys() == {"prompt", "response"} & stored.keys()
