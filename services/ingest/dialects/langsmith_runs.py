"""LangSmith's tracing: facts of requests from the runs of language models, and from the roots of traces.

A model's run is the request with the id of its completion, or of the run if it has none; it is stored when it
has ended, because only its outputs name the completion.  A root is the request with the id of its run.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from services.ingest.core.validation import Faults, decoded
from services.ingest.dialects.completions import known, milliseconds, token_facts
from services.ingest.dialects.dialect import (
    DialectCall,
    Item,
    ItemOutcome,
    Reply,
    Submission,
    items_each,
    member,
    receipts,
    required,
    submission,
)

MODEL_RUN = "llm"
"""The `run_type` of a language model's run."""

_DOTTED_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{6})Z", re.ASCII)


def read_batch(call: DialectCall) -> list[Item]:
    """Return an item for each run of a body: those that begin, then those that change."""
    body = decoded(call.body)
    runs = [run for name in ("post", "patch") for run in member(body, name, list) or ()]
    return items_each((("", run) for run in runs), read_run)


def read_single(call: DialectCall) -> list[Item]:
    """Return the item of one run, whose id may be in the path; raise Rejection."""
    run = decoded(call.body)
    if isinstance(run, dict) and call.request_id:
        run = {**run, "id": call.request_id}
    return [Item("", read_run(run))]


def answer_runs(_call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the answer; raise the first rejection, which the clients log, once the other runs are stored."""
    receipts(outcomes)
    return Reply(202, orjson.dumps({"message": "Runs ingested"}))


def read_run(run: Any) -> Submission | None:
    """Return the facts of a run, None if it is neither a root nor an ended model's run; raise Rejection."""
    run_id = required(run, "id", str)
    completion_id, more = None, {}
    if _is_model_run(run):
        if run.get("end_time") is None and not run.get("outputs"):
            return None
        completion_id = _first_text(
            run, ("outputs", "id"), (*_MESSAGE, "response_metadata", "id"), ("outputs", "llm_output", "id")
        )
        more = _model_facts(run)
    elif not _is_root(run, run_id):
        return None
    return submission(completion_id or run_id, request=_facts(run, run_id, completion_id) | more)


_MESSAGE = ("outputs", "generations", 0, 0, "message", "kwargs")
"""Where LangChain has the answer of a model."""

_METADATA = ("extra", "metadata")


def _is_model_run(run: Mapping[str, Any]) -> bool:
    kind = run.get("run_type")
    if kind is None:  # a change may leave it out
        return _at(run, *_METADATA, "ls_model_name") is not None or _at(run, "outputs", "choices") is not None
    return bool(kind == MODEL_RUN)


def _is_root(run: Mapping[str, Any], run_id: str) -> bool:
    return (
        run.get("parent_run_id") is None
        and run.get("trace_id") in (None, run_id)
        and "." not in str(run.get("dotted_order"))
    )


def _facts(run: Mapping[str, Any], run_id: str, completion_id: str | None) -> dict[str, Any]:
    start, end = run.get("start_time") or _dotted_start(run), run.get("end_time")
    metadata = _at(run, *_METADATA)
    status = None if end is None else "error" if run.get("error") else "success"
    return known(
        {
            "name": run.get("name"),
            "provider": _at(metadata, "ls_provider"),
            "started_at": start,
            "latency_ms": milliseconds(start, end),
            "user_id": _at(metadata, "user_id"),
            "session_id": _first_text(metadata, ("session_id",), ("thread_id",), ("conversation_id",)),
            "prompt": _shallow(_first(run, ("inputs", "messages"), ("inputs",))),
            "response": _shallow(_first(run, *_RESPONSES)),
            "error": run.get("error"),
            "status": status,
            "trace_id": run.get("trace_id"),
            "span_id": run_id,
            "completion_id": completion_id,
        }
    )


def _model_facts(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what only a model's run has: other runs repeat the outputs of those in them."""
    usages = (
        _at(run, *_METADATA, "usage_metadata"),
        _at(run, *_MESSAGE, "usage_metadata"),
        _at(run, "outputs", "llm_output", "token_usage"),
        _at(run, "outputs", "usage"),
        _at(run, "outputs", "usage_metadata"),
    )
    tokens = {name: count for usage in usages for name, count in token_facts(usage).items()}
    cost = next((usage["total_cost"] for usage in usages if _at(usage, "total_cost") is not None), None)
    return known({"model": _first_text(run, *_MODELS), "cost_usd": cost}) | tokens


_MODELS = (
    ("outputs", "model"),
    (*_MESSAGE, "response_metadata", "model_name"),
    ("outputs", "llm_output", "model_name"),
    (*_METADATA, "ls_model_name"),
    ("inputs", "model"),
)
_RESPONSES = (
    ("outputs", "choices", 0, "message", "content"),
    ("outputs", "generations", 0, 0, "text"),
    ("outputs",),
)


def _dotted_start(run: Mapping[str, Any]) -> str | None:
    """Return the time in the last part of the dotted order, which a change has instead of a start time."""
    found = _DOTTED_TIME.match(str(run.get("dotted_order")).rpartition(".")[2])
    return "{}-{}-{}T{}:{}:{}.{}Z".format(*found.groups()) if found else None


def _shallow(value: Any) -> Any:
    """Return a value, or its JSON text if it cannot be stored as it is."""
    faults = Faults()
    faults.value("", value, 2)
    return json.dumps(value) if faults.faults else value


def _at(value: Any, *path: str | int) -> Any:
    """Return a member at any depth, None if there is none."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _first(value: Any, *paths: tuple[str | int, ...]) -> Any:
    return next((found for path in paths if (found := _at(value, *path)) not in (None, "", {})), None)


def _first_text(value: Any, *paths: tuple[str | int, ...]) -> str | None:
    found = (_at(value, *path) for path in paths)
    return next((text for text in found if isinstance(text, str) and text), None)
