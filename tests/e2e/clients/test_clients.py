"""Clients of other systems, as their users run them, against the whole stack: only the address is changed."""

from typing import Any
from uuid import uuid4

import orjson
import pytest

from tests.support.eventually import eventually
from tests.support.stack.clients import ClientRun, run_client
from tests.support.stack.rows import ask
from tests.support.stack.whole_stack import WholeStack

KEY = "any-key-of-an-open-stack"


@pytest.fixture
def run() -> str:
    """Twelve hexadecimal digits that all ids of a run contain."""
    return uuid4().hex[:12]


async def ran(stack: WholeStack, program: str, environment: str, dialect: str, run: str) -> ClientRun:
    """Run a program against a dialect's address, and return what it printed."""
    return await run_client(program, environment, f"{stack.ingest_url}/{dialect}", KEY, run)


async def rows_are(stack: WholeStack, expected: dict[str, dict[str, Any]]) -> None:
    """Wait until each request has these keys of `data`, and of `request` (`request.model`); null: has not."""
    query = "SELECT request_id, data, request FROM feedback WHERE request_id IN {ids:Array(String)}"

    async def check() -> bool:
        rows = await ask(stack.settings, query, ids=list(expected))
        stored = {
            request_id: orjson.loads(data)
            | {f"request.{name}": value for name, value in orjson.loads(facts).items()}
            for request_id, data, facts in rows
        }
        for request_id, fields in expected.items():
            row = stored.get(request_id, {})
            assert {name: row.get(name) for name in fields} == fields, row
        return True

    await eventually(check, within=60, every=0.3)


async def history_has(stack: WholeStack, request_id: str, source: str, count: int) -> None:
    """Wait until the history of a request has at least so many events of a source."""
    query = "SELECT count() FROM feedback_history WHERE request_id = {id:String} AND source = {source:String}"

    async def check() -> bool:
        ((events,),) = await ask(stack.settings, query, id=request_id, source=source)
        return bool(events >= count)

    await eventually(check, within=60, every=0.3)


async def test_tensorzero(whole_stack: WholeStack, run: str) -> None:
    """A boolean, a number and a comment; the dry run writes nothing."""
    done = await ran(whole_stack, "tensorzero_python.py", "clients", "tensorzero", run)

    assert done.raised == {}
    inference = done.returned["inference"]
    await rows_are(whole_stack, {inference: {"helpful": True, "quality": 0.75, "comment": "Long"}})


async def test_phoenix(whole_stack: WholeStack, run: str) -> None:
    """The label and the explanation are kept beside the score."""
    done = await ran(whole_stack, "phoenix_python.py", "clients", "phoenix", run)

    assert done.raised == {}
    expected = {"helpful": 1.0, "helpful_label": "yes", "comment": "It worked"}
    await rows_are(whole_stack, {f"{run:0>16}": expected})


async def test_langsmith_in_python(whole_stack: WholeStack, run: str) -> None:
    """What was created is read, listed, changed and deleted by the same client at once."""
    done = await ran(whole_stack, "langsmith_python.py", "clients", "langsmith", run)

    assert set(done.raised) == {"read what was deleted"}
    assert "404" in done.raised["read what was deleted"]
    returned = done.returned
    assert (returned["read"], returned["read the update"]) == (1, 0)
    assert [feedback["key"] for feedback in returned["list"]] == ["late", "tone", "user_score"]
    assert [feedback["key"] for feedback in returned["list by key"]] == ["tone"]
    assert [feedback["key"] for feedback in returned["list after that"]] == ["late", "user_score"]
    row = {"user_score": 0, "late": 0.5, "tone": None, "from_mail": 1}
    await rows_are(whole_stack, {returned["run"]: row})
    await history_has(whole_stack, returned["run"], "langsmith", 5)


async def test_langsmith_in_javascript(whole_stack: WholeStack, run: str) -> None:
    """The same calls; feedback with a trace stays on the plain route."""
    done = await ran(whole_stack, "langsmith_js.mjs", "node", "langsmith", run)

    assert done.raised == {}
    assert (done.returned["read"], done.returned["list"]) == (1, ["late", "user_score"])
    assert "/langsmith/feedback/tokens/" in done.returned["token"]
    run_id = f"018f0000-0000-7000-8000-{run}"
    await rows_are(whole_stack, {run_id: {"user_score": 0, "late": 0.5, "tone": None}})


@pytest.mark.parametrize(
    "environment", ["clients", "clients-langfuse-4", "clients-langfuse-3", "clients-langfuse-2"]
)
async def test_langfuse_in_python(whole_stack: WholeStack, run: str, environment: str) -> None:
    """Scores of a trace, an observation and a session, and a traced generation with its score."""
    done = await ran(whole_stack, "langfuse_python.py", environment, "langfuse", run)

    assert done.raised == {}
    assert "ERROR" not in done.log
    trace = f"{run:0>32}"
    expected: dict[str, dict[str, Any]] = {
        trace: {"accuracy": 0.9, "comment": "nearly right", "tone": "friendly"},
        f"{trace}:{run:0>16}": {"helpful": 1},
    }
    facts = {"request.model": "gpt-4o", "request.prompt_tokens": 12, "request.completion_tokens": 5}
    if environment == "clients-langfuse-2":
        generation = f"{run}-trace:{run}-generation"
    else:
        expected[f"session:{run}-session"] = {"solved": 1}
        ids = done.returned["ids"]
        generation = f"{ids['trace_id']}:{ids['span_id']}"
        facts |= {"request.cost_usd": 0.25}
    expected[generation] = {"helpful": 1, "request.response": "Because.", **facts}
    await rows_are(whole_stack, expected)


async def test_langfuse_in_javascript(whole_stack: WholeStack, run: str) -> None:
    """Version 5 scores; version 3 traces, scores, and scores from a page with its public key alone."""
    current = await ran(whole_stack, "langfuse_js_5.mjs", "node", "langfuse", run)
    old = await ran(whole_stack, "langfuse_js_3.mjs", "node", "langfuse", run)

    assert (current.raised, old.raised) == ({}, {})
    trace = f"{run:0>32}"
    await rows_are(
        whole_stack,
        {
            trace: {"accuracy": 0.9, "comment": "nearly right"},
            f"{trace}:{run:0>16}": {"helpful": 1},
            f"{run}-trace": {"accuracy": 0.9},
            f"{run}-trace:{run}-generation": {"request.model": "gpt-4o", "request.prompt_tokens": 12},
            f"{run}-web": {"thumb": 1},
        },
    )


async def test_opentelemetry(whole_stack: WholeStack, run: str) -> None:
    """A span of generative AI is the request's facts, and its evaluation a score of the same request."""
    done = await ran(whole_stack, "otel_python.py", "clients", "otel", run)

    assert done.raised == {}
    facts = {"request.model": "gpt-4o-2024-08-06", "request.prompt_tokens": 12}
    await rows_are(whole_stack, {f"chatcmpl-{run}": {"relevance": 0.8, **facts}})


async def test_portkey(whole_stack: WholeStack, run: str) -> None:
    """Alone and in bulk, and changed by its id, in both languages; a value out of range is refused."""
    python = await ran(whole_stack, "portkey_python.py", "clients", "portkey", run)
    javascript = await ran(whole_stack, "portkey_js.mjs", "node", "portkey", f"{run}-js")

    assert set(python.raised) == {"out of range"}
    assert javascript.raised == {}
    expected = {"a": -5, "b": 1, "c": -1, "js-a": -5}
    await rows_are(whole_stack, {f"{run}-{name}": {"value": value} for name, value in expected.items()})


async def test_litellm(whole_stack: WholeStack, run: str) -> None:
    """A completion's facts have its cost, and join feedback that is posted under the completion's id."""
    done = await ran(whole_stack, "litellm_python.py", "clients", "litellm", run)

    assert done.raised == {}
    completion = done.returned["completion"]
    expected = {"request.model": "gpt-4o", "request.response": "Because.", "request.user_id": f"user-{run}"}
    await rows_are(whole_stack, {completion: expected})
    ((cost,),) = await ask(
        whole_stack.settings, "SELECT cost_usd FROM feedback WHERE request_id = {id:String}", id=completion
    )
    assert cost > 0
