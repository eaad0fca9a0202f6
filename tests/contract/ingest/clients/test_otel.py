"""What exporters of OpenTelemetry and of Langfuse send, as it was recorded, in protobuf and in JSON."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.ingest.app import client_of, decoded, ingest_over, new_key
from tests.support.ingest.exchanges import Exchange, exchanges
from tests.support.ingest.fake_log import FakeLog

RECORDED = exchanges("otel")
EVALUATION, CHAT, LANGFUSE_PYTHON, LANGFUSE_JS = RECORDED
PROTOBUF = {"content-type": "application/x-protobuf"}
TRACE, SPAN = "80451b0b682e11f7eca569b328476b7a", "f433158a7dd4d8fd"


PLAYED = [(EVALUATION, "/otel"), (CHAT, "/otel"), (LANGFUSE_PYTHON, "/langfuse"), (LANGFUSE_JS, "/langfuse")]


@pytest.mark.parametrize(("exchange", "prefix"), [*PLAYED, *((one, "") for one in RECORDED)])
async def test_a_recorded_export_gets_an_empty_answer_in_its_encoding(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange, prefix: str
) -> None:
    """Each at the paths of its own system, with its prefix and without."""
    answer = await exchange.play(client, prefix)

    assert answer.status_code == exchange.needed_status
    assert answer.headers["content-type"] == exchange.headers["content-type"]
    assert answer.content == (b"{}" if exchange is LANGFUSE_JS else b"")
    assert len(log.events) == 1


async def test_a_recorded_evaluation_becomes_feedback(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Of the completion that it names, with the time of the record."""
    await EVALUATION.play(client)

    (event,) = decoded(log.events)
    assert event["request_id"] == "chatcmpl-otel1"
    assert event["data"] == {"user_feedback": 1.0, "user_feedback_label": "thumbs_up", "comment": "Great"}
    assert event["source"] == "otel"
    assert "at" in event


async def test_a_recorded_generation_becomes_facts(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Under the id of the completion, with those of the trace and the span beside it."""
    await CHAT.play(client)

    (event,) = decoded(log.events)
    facts = event["request"]
    assert event["request_id"] == "chatcmpl-otel1"
    assert facts.pop("latency_ms") > 0
    assert facts.pop("started_at").startswith("2026-")
    assert facts == {
        "model": "gpt-4o-2024-08-06",
        "provider": "openai",
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "session_id": "s1",
        "trace_id": TRACE,
        "span_id": SPAN,
        "completion_id": "chatcmpl-otel1",
    }


@pytest.mark.parametrize(
    ("exchange", "span"),
    [
        (LANGFUSE_PYTHON, ("d5e1cbb53a18b4c9569acbc33866d693", "c219c79f206da2bd")),
        (LANGFUSE_JS, ("a5f257183a78bff87f0875c1cf61cf14", "4a7cc7ea63aad781")),
    ],
)
async def test_recorded_generations_of_langfuse_become_facts(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange, span: tuple[str, str]
) -> None:
    """The same facts from protobuf, whose ids are bytes, and from JSON, whose ids are text."""
    await exchange.play(client)

    (event,) = decoded(log.events)
    facts = event["request"]
    assert event["source"] == "langfuse"
    assert event["request_id"] == ":".join(span)
    assert (facts["trace_id"], facts["span_id"]) == span
    assert facts["latency_ms"] > 0
    assert {name: facts[name] for name in ("model", "cost_usd", "prompt_tokens", "completion_tokens")} == {
        "model": "gpt-4o",
        "cost_usd": 8e-05,
        "prompt_tokens": 12,
        "completion_tokens": 5,
    }
    assert facts["prompt"] == [{"role": "user", "content": "What is AES?"}]
    assert facts["response"] == "A cipher."


def pair(name: str, value: Any) -> dict[str, Any]:
    """Return an attribute in JSON."""
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}
    if isinstance(value, list):
        return {"key": name, "value": {"arrayValue": {"values": [pair("", one)["value"] for one in value]}}}
    if isinstance(value, dict):
        pairs = [pair(key, inner) for key, inner in value.items()]
        return {"key": name, "value": {"kvlistValue": {"values": pairs}}}
    return {"key": name, "value": {kinds[type(value)]: value}}


def fill(attributes: Any, values: dict[str, Any]) -> None:
    """Add attributes in protobuf."""
    for name, value in values.items():
        one = attributes.add(key=name).value
        if isinstance(value, dict):
            fill(one.kvlist_value.values, value)
        elif isinstance(value, list):
            for inner in value:
                one.array_value.values.add(string_value=inner)
        else:
            kinds = {str: "string_value", int: "int_value", float: "double_value", bool: "bool_value"}
            setattr(one, kinds[type(value)], value)


async def exported(
    client: httpx.AsyncClient, encoding: str, *spans: dict[str, Any], trace: str = TRACE, code: int = 0
) -> httpx.Response:
    """Export spans with these attributes in an encoding."""
    if encoding == "json":
        shown = [
            {
                "traceId": trace,
                "spanId": SPAN,
                "attributes": [pair(name, value) for name, value in span.items()],
                "status": {"code": code},
            }
            for span in spans
        ]
        return await client.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": shown}]}]})
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for span in spans:
        message = scope.spans.add(trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(SPAN))
        message.status.code = code
        fill(message.attributes, span)
    return await client.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)


each_encoding = pytest.mark.parametrize("encoding", ["json", "protobuf"])


@each_encoding
@pytest.mark.parametrize(
    ("attributes", "facts"),
    [
        ({"gen_ai.request.model": "m"}, {"model": "m"}),
        (
            {"gen_ai.request.model": "m", "gen_ai.system": "openai", "gen_ai.usage.cost": 0.5},
            {"model": "m", "provider": "openai", "cost_usd": 0.5},
        ),
        (
            {"gen_ai.operation.name": "chat", "user.id": "u", "gen_ai.usage.prompt_tokens": 3},
            {"user_id": "u", "prompt_tokens": 3},
        ),
        (
            {"gen_ai.operation.name": "chat", "gen_ai.input.messages": '[{"role": "user"}]'},
            {"prompt": [{"role": "user"}]},
        ),
        (
            {"gen_ai.operation.name": "chat", "gen_ai.output.messages": {"a": ["b", "{"], "c": True}},
            {"response": {"a": ["b", "{"], "c": True}},
        ),
        ({"gen_ai.operation.name": "chat", "gen_ai.prompt": "{not json"}, {"prompt": "{not json"}),
        (
            {"langfuse.observation.type": "generation", "langfuse.observation.level": "ERROR"},
            {"status": "error"},
        ),
        (
            {"langfuse.observation.type": "generation", "langfuse.observation.usage_details": "7"},
            {},
        ),
    ],
)
async def test_what_a_span_becomes(
    client: httpx.AsyncClient,
    log: FakeLog,
    encoding: str,
    attributes: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    """In both encodings; without a completion's id, it is the request of its trace and span."""
    assert (await exported(client, encoding, attributes)).status_code == 200

    (event,) = decoded(log.events)
    assert event["request_id"] == f"{TRACE}:{SPAN}"
    assert event["request"] == {"trace_id": TRACE, "span_id": SPAN, **facts}


@each_encoding
async def test_a_failed_span_has_the_status_error(
    client: httpx.AsyncClient, log: FakeLog, encoding: str
) -> None:
    """As the tracer reports it."""
    await exported(client, encoding, {"gen_ai.request.model": "m"}, code=2)

    assert decoded(log.events)[0]["request"]["status"] == "error"


@each_encoding
async def test_other_spans_are_skipped_and_counted(
    client: httpx.AsyncClient, log: FakeLog, encoding: str
) -> None:
    """They are a success for the exporter."""
    spans: list[dict[str, Any]] = [
        {},
        {"http.request.method": "GET"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.request.model": "m"},
        {"langfuse.observation.type": "agent", "gen_ai.request.model": "m"},
    ]
    answer = await exported(client, encoding, *spans)
    metrics = (await client.get("/metrics")).text

    assert (answer.status_code, log.events) == (200, [])
    assert 'ingest_skipped_items_total{dialect="otel"}' in metrics


@each_encoding
async def test_a_rejected_span_is_counted_in_the_answer(
    client: httpx.AsyncClient, log: FakeLog, encoding: str
) -> None:
    """The others are stored."""
    good = {"gen_ai.request.model": "m", "gen_ai.response.id": "c"}
    answer = await exported(client, encoding, good, {"gen_ai.request.model": "m"}, trace="")

    assert answer.status_code == 200
    if encoding == "json":
        partial = answer.json()["partialSuccess"]
        rejected, detail = int(partial["rejectedSpans"]), partial["errorMessage"]
    else:
        message = ExportTraceServiceResponse.FromString(answer.content).partial_success
        rejected, detail = message.rejected_spans, message.error_message
    assert rejected == 1
    assert "traceId is missing" in detail
    assert [event["request_id"] for event in decoded(log.events)] == ["c"]


async def test_results_of_evaluations(client: httpx.AsyncClient, log: FakeLog) -> None:
    """A label alone is the value; older exporters name the record in an attribute; others are skipped."""
    name = {"gen_ai.evaluation.name": "tone"}
    records: list[dict[str, Any]] = [
        {**name, "gen_ai.evaluation.score.label": "kind", "user.id": "u", "log.record.uid": "i"},
        {**name, "gen_ai.evaluation.score.value": 0.5, "event.name": "gen_ai.evaluation.result"},
        {"event.name": "other"},
        {**name, "event.name": "gen_ai.evaluation.result"},
        {"event.name": "gen_ai.evaluation.result", "gen_ai.evaluation.score.value": 0.5},
    ]
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for record in records:
        named = "" if "event.name" in record else "gen_ai.evaluation.result"
        fill(scope.log_records.add(trace_id=b"\1" * 16, event_name=named).attributes, record)
    answer = await client.post("/v1/logs", content=request.SerializeToString(), headers=PROTOBUF)
    shown = [
        {"traceId": "01" * 16, "attributes": [pair(key, value) for key, value in record.items()]}
        for record in records[1:]
    ]
    in_json = await client.post("/v1/logs", json={"resourceLogs": [{"scopeLogs": [{"logRecords": shown}]}]})

    assert ExportLogsServiceResponse.FromString(answer.content).partial_success.rejected_log_records == 2
    assert in_json.json()["partialSuccess"]["rejectedLogRecords"] == "2"
    first, *others = decoded(log.events)
    assert (first["data"], first["item_id"]) == ({"tone": "kind", "user_id": "u"}, "i")
    assert [one["data"] for one in others] == [{"tone": 0.5}] * 2
    assert {one["request_id"] for one in (first, *others)} == {"01" * 16}


def status(answer: httpx.Response) -> tuple[int, str]:
    """Return code and message of a google.rpc.Status, whose two fields are short here or a text."""
    if answer.headers["content-type"] == "application/json":
        return answer.json()["code"], answer.json()["message"]
    content = answer.content
    assert (content[0], content[2]) == (0x08, 0x12)
    length, start = content[3], 4
    if length > 0x7F:
        length, start = length & 0x7F | content[4] << 7, 5
    assert len(content) == start + length
    return content[1], content[start:].decode()


@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
async def test_errors_are_statuses_of_grpc_in_the_encoding_of_the_request(
    log: FakeLog, tmp_path: Path, kind: str
) -> None:
    """Exporters try again after 429 and 503, and drop what is answered 400."""
    key = new_key(tmp_path)
    app = ingest_over(log, tmp_path)
    async with client_of(app) as stranger, client_of(app, key) as client:
        for path in ("/otel/v1/traces", "/otel/v1/logs", "/langfuse/api/public/otel/v1/traces"):
            headers = {"content-type": kind}
            unknown = await stranger.post(path, content=b"{", headers=headers)
            broken = await client.post(path, content=b"{", headers=headers)
            assert (unknown.status_code, status(unknown)[0]) == (401, 16)
            assert (broken.status_code, status(broken)[0]) == (400, 3)
            assert broken.headers["content-type"] == kind
        log.problem = "gone"
        exchange = LANGFUSE_JS if kind == "application/json" else CHAT
        gone = await exchange.play(client)
        assert (gone.status_code, status(gone)[0]) == (503, 14)
        assert "retry-after" in gone.headers


@pytest.mark.parametrize("body", ["1", "[]", '{"resourceSpans": {}}', '{"resourceSpans": [1]}'])
async def test_json_that_is_no_export_is_refused(client: httpx.AsyncClient, body: str) -> None:
    """With the reason."""
    headers = {"content-type": "application/json"}
    answer = await client.post("/v1/traces", content=body, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, 3)
