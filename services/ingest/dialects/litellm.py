"""LiteLLM: the facts of requests that its generic logger sends, as an array, an object or lines of JSON.

A failed request has no completion: its facts are kept under the id that LiteLLM gave the call.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from services.ingest.core.errors import BodyFault, Rejection, invalid, item_error
from services.ingest.core.validation import decoded
from services.ingest.dialects.completions import content, facts_of, known
from services.ingest.dialects.dialect import (
    Dialect,
    DialectCall,
    Item,
    ItemOutcome,
    ItemsRoute,
    Reply,
    RouteDoc,
    Submission,
    items_each,
    member,
    required,
    submission,
)

CACHE_HIT = "_cache_hit"
"""Follows the id of the completion, with a time behind it, where LiteLLM answered from its cache."""

OF_THE_CALL = ("started_at", "latency_ms", "cost_usd", "litellm_call_id")
"""Facts that a later answer from the cache does not replace."""

SUCCESS = "success"


def read(payload: Any) -> Submission:
    """Return the submission of a StandardLoggingPayload; raise Rejection."""
    call_id = member(payload, "litellm_call_id", str)
    logged_id, from_cache, _ = (required(payload, "id", str)).partition(CACHE_HIT)
    is_success = payload.get("status") == SUCCESS
    response = payload.get("response") if is_success else None
    facts = {
        **facts_of(payload.get("messages"), response),
        **known({name: payload.get(name) for name in ("model", "prompt_tokens", "completion_tokens")}),
        "completion_id": logged_id if is_success else None,
        "litellm_call_id": call_id,
        "provider": payload.get("custom_llm_provider"),
        "started_at": payload.get("startTime"),
        "latency_ms": _latency(payload),
        "cost_usd": payload.get("response_cost"),
        "status": payload.get("status"),
        "user_id": _user(payload),
        "session_id": payload.get("session_id") or payload.get("trace_id") or None,
        "request_tags": payload.get("request_tags") or None,
        "error": content(payload.get("error_str")),
    }
    if from_cache:
        facts = {name: value for name, value in facts.items() if name not in OF_THE_CALL}
        facts["cache_hit"] = True
    return submission(logged_id, request=known(facts))


def _latency(payload: Mapping[str, Any]) -> float | None:
    """Return milliseconds, None if they are unknown."""
    started, ended = payload.get("startTime"), payload.get("endTime")
    if not isinstance(started, int | float) or not isinstance(ended, int | float):
        return None
    try:
        return round((ended - started) * 1000, 3)
    except OverflowError:
        raise invalid(BodyFault("endTime", "is a number too large for a time")) from None


def _user(payload: Mapping[str, Any]) -> Any:
    """Return the end user, else the user of the LiteLLM key, None if both are unknown."""
    metadata = member(payload, "metadata", dict) or {}
    parameters = member(payload, "model_parameters", dict) or {}
    users = (
        payload.get("end_user"),
        metadata.get("user_api_key_end_user_id"),
        parameters.get("user"),
        metadata.get("user_api_key_user_id"),
    )
    return next((user for user in users if user), None)


def read_items(call: DialectCall) -> list[Item]:
    """Return an item for each payload; raise Rejection for a body that is no JSON."""
    return items_each(((str(index), payload) for index, payload in enumerate(_payloads(call.body))), read)


def _payloads(body: bytes) -> list[Any]:
    try:
        value = decoded(body)
    except Rejection:
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [decoded(line) for line in lines]
    return value if isinstance(value, list) else [value]


def answer_items(_call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the numbers of payloads, and why some are rejected; raise Rejection if all are.

    LiteLLM reads nothing but the status, and logs it if it is an error.
    """
    rejected = [(one.id, one.result) for one in outcomes if isinstance(one.result, Rejection)]
    if rejected and len(rejected) == len(outcomes):
        raise rejected[0][1]
    errors = [{"index": int(index), "error": item_error(rejection)} for index, rejection in rejected]
    shown = {"accepted": len(outcomes) - len(rejected), "rejected": len(rejected), "errors": errors}
    return Reply(207 if rejected else 200, orjson.dumps(shown))


DIALECT = Dialect(
    "litellm",
    (
        ItemsRoute(
            method="POST",
            path="/logs",
            is_bare=False,
            read_items=read_items,
            answer_items=answer_items,
            doc=RouteDoc(
                "Log requests",
                [
                    {
                        "id": "chatcmpl-1",
                        "litellm_call_id": "9caa3564-1766-4f8c-ad7b-3b6eeaefe8e1",
                        "status": "success",
                        "model": "gpt-4o",
                        "custom_llm_provider": "openai",
                        "startTime": 1767323045.5,
                        "endTime": 1767323046.5,
                        "response_cost": 8e-05,
                        "prompt_tokens": 12,
                        "completion_tokens": 5,
                        "end_user": "u1",
                        "trace_id": "s1",
                        "messages": [{"role": "user", "content": "What is AES?"}],
                        "response": {"choices": [{"message": {"role": "assistant", "content": "A cipher."}}]},
                    }
                ],
                {"accepted": 1, "rejected": 0, "errors": []},
            ),
        ),
    ),
)
