"""What LiteLLM's generic logger sends, as it was recorded."""

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.support.ingest.app import client_of, code_of, decoded, ingest_over, new_key
from tests.support.ingest.exchanges import exchanges
from tests.support.ingest.fake_log import FakeLog

(LOGGED,) = exchanges("litellm")
PAYLOAD = LOGGED.value[0]
COMPLETION = "chatcmpl-sdks1796098010"
FACTS = {
    "model": "gpt-4o",
    "completion_id": COMPLETION,
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "prompt": [{"role": "user", "content": "What is AES?"}],
    "response": "A cipher.",
    "litellm_call_id": "9caa3564-1766-4f8c-ad7b-3b6eeaefe8e1",
    "provider": "openai",
    "started_at": 1796099825.833345,
    "latency_ms": 4687.006,
    "cost_usd": 8e-05,
    "status": "success",
    "user_id": "user_1234",
    "session_id": "s1",
    "request_tags": ["a"],
}


async def test_the_recorded_payloads_become_facts_of_their_completions(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """With the cost, under the id of the completion, by which feedback is sent."""
    answer = await LOGGED.play(client)

    assert answer.status_code == LOGGED.needed_status
    assert answer.json() == {"accepted": 1, "rejected": 0, "errors": []}
    (event,) = decoded(log.events)
    assert (event["request_id"], event["source"]) == (COMPLETION, "litellm")
    assert event["request"] == FACTS


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps(PAYLOAD),
        b"[%b]" % orjson.dumps(PAYLOAD),
        b"%b\n%b" % (orjson.dumps(PAYLOAD), orjson.dumps(PAYLOAD)),
    ],
)
async def test_each_format_of_the_logger_is_read(
    client: httpx.AsyncClient, log: FakeLog, body: bytes
) -> None:
    """`json_array`, `single` and `ndjson`, all sent as application/json."""
    answer = await LOGGED.play(client, body=body)

    assert answer.status_code == 200
    assert {event["request_id"] for event in decoded(log.events)} == {COMPLETION}


async def test_an_answer_from_the_cache_keeps_what_the_call_cost(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """It has the same completion, and neither cost nor times of its own."""
    payload = {**PAYLOAD, "id": f"{COMPLETION}_cache_hit1796099831.5", "response_cost": 0, "cache_hit": True}
    await client.post("/litellm/logs", json=[payload])

    (event,) = decoded(log.events)
    assert event["request_id"] == COMPLETION
    assert event["request"]["cache_hit"] is True
    assert not {"cost_usd", "latency_ms", "started_at", "litellm_call_id"} & event["request"].keys()


async def test_a_failed_request_is_kept_under_the_id_of_the_call(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """It has no completion, but an error."""
    call_id = PAYLOAD["litellm_call_id"]
    failed = {**PAYLOAD, "id": call_id, "status": "failure", "response": {}, "error_str": "overloaded"}
    await client.post("/litellm/logs", json=[failed])

    (event,) = decoded(log.events)
    assert event["request_id"] == call_id
    assert (event["request"]["status"], event["request"]["error"]) == ("failure", "overloaded")
    assert "completion_id" not in event["request"]


@pytest.mark.parametrize(
    ("change", "user"),
    [
        ({"end_user": "e"}, "e"),
        ({"metadata": {"user_api_key_end_user_id": "k"}}, "k"),
        ({"metadata": {"user_api_key_user_id": "o"}, "model_parameters": {}}, "o"),
        ({"metadata": None, "model_parameters": None}, None),
    ],
)
async def test_the_user_is_the_most_specific(
    client: httpx.AsyncClient, log: FakeLog, change: dict[str, Any], user: str | None
) -> None:
    """The end user, the one of the call, then the one of LiteLLM's key."""
    await client.post("/litellm/logs", json={**PAYLOAD, **change})

    assert decoded(log.events)[0]["request"].get("user_id") == user


async def test_an_invalid_payload_does_not_affect_the_others(client: httpx.AsyncClient, log: FakeLog) -> None:
    """The logger drops a batch that is answered with an error."""
    answer = await client.post("/litellm/logs", json=[{"model": "m"}, PAYLOAD, 5])

    assert answer.status_code == 207
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 2)
    assert [error["index"] for error in answer.json()["errors"]] == [0, 2]
    assert answer.json()["errors"][0]["error"]["detail"] == "id is missing"
    assert len(log.events) == 1


async def test_errors(log: FakeLog, tmp_path: Path) -> None:
    """No valid payload, no key, a log that is gone; the path needs the prefix of LiteLLM."""
    key = new_key(tmp_path)
    app = ingest_over(log, tmp_path)
    async with client_of(app) as stranger, client_of(app, key) as client:
        assert code_of(await client.post("/litellm/logs", json=[{}])) == "invalid_feedback"
        assert code_of(await client.post("/litellm/logs", content=b"{")) == "malformed_json"
        assert code_of(await LOGGED.play(stranger)) == "unauthenticated"
        assert code_of(await client.post("/logs", json=[PAYLOAD])) == "not_found"
        log.problem = "gone"
        assert code_of(await LOGGED.play(client)) == "log_unavailable"
