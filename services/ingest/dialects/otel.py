"""OpenTelemetry: generations in `/v1/traces` and results of evaluations in `/v1/logs`, as protobuf or JSON.

A span of a generation has the facts of a request, in attributes of the semantic conventions or of Langfuse.
Other spans and log records are skipped.
The id of the request is that of the completion if there is one, else `traceId:spanId`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, NamedTuple

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from schemas.instants import rfc3339
from services.ingest.core.errors import BodyFault, Code, Rejection, invalid
from services.ingest.core.validation import decoded
from services.ingest.dialects.completions import content, known, token_facts, total_cost
from services.ingest.dialects.dialect import (
    JSON_TYPE,
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
    submission,
)
from services.ingest.dialects.item_changes import RATER

PROTOBUF_TYPE = "application/x-protobuf"

EVALUATION = "gen_ai.evaluation.result"
"""The name of the log records that are kept."""

GENERATIONS = ("chat", "completion", "generate_content", "text_completion")
"""Operations of the spans that are kept; others, such as those of tools and agents, hold no completion."""

ERROR = 2
"""The status code of a failed span."""

MODEL = ("gen_ai.response.model", "gen_ai.request.model", "langfuse.observation.model.name")
PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
COMPLETION_ID = ("gen_ai.response.id",)
USER = ("langfuse.user.id", "user.id", "enduser.id")
SESSION = ("langfuse.session.id", "session.id", "gen_ai.conversation.id")
PROMPT_TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
COMPLETION_TOKENS = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
COST = ("gen_ai.usage.cost",)
PROMPT = ("langfuse.observation.input", "gen_ai.input.messages", "gen_ai.prompt")
RESPONSE = ("langfuse.observation.output", "gen_ai.output.messages", "gen_ai.completion")
OPERATION, OBSERVATION = "gen_ai.operation.name", "langfuse.observation.type"
USAGE, COSTS, LEVEL = (f"langfuse.observation.{name}" for name in ("usage_details", "cost_details", "level"))
NAME, SCORE, LABEL, EXPLANATION = (
    f"gen_ai.evaluation.{name}" for name in ("name", "score.value", "score.label", "explanation")
)
RECORD_NAME, RECORD_ID = "event.name", "log.record.uid"

READ = frozenset(
    (
        *(*MODEL, *PROVIDER, *COMPLETION_ID, *USER, *SESSION, *PROMPT_TOKENS, *COMPLETION_TOKENS, *COST),
        *(*PROMPT, *RESPONSE, OPERATION, OBSERVATION, USAGE, COSTS, LEVEL),
        *(NAME, SCORE, LABEL, EXPLANATION, RECORD_NAME, RECORD_ID),
    )
)
"""The attributes that count; the others are not decoded."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TracedSpan(NamedTuple):
    """A span or a log record, whatever its encoding.  Times are nanoseconds since 1970; 0 is none."""

    trace_id: str
    span_id: str
    start: int
    end: int
    attributes: Mapping[str, Any]
    is_error: bool = False


def read_span(span: TracedSpan) -> Submission | None:
    """Return the facts of a generation, None for any other span; raise Rejection."""
    found = span.attributes
    if not _is_generation(found):
        return None
    completion_id = _first(found, COMPLETION_ID)
    facts = known(
        {
            "model": _first(found, MODEL),
            "provider": _first(found, PROVIDER),
            "started_at": _time(span.start),
            "latency_ms": (span.end - span.start) / 1e6 if 0 < span.start <= span.end else None,
            "cost_usd": _cost(found),
            "prompt_tokens": _first(found, PROMPT_TOKENS),
            "completion_tokens": _first(found, COMPLETION_TOKENS),
            "user_id": _first(found, USER),
            "session_id": _first(found, SESSION),
            "prompt": content(_json(_first(found, PROMPT))),
            "response": content(_json(_first(found, RESPONSE))),
            "status": "error" if span.is_error or found.get(LEVEL) == "ERROR" else None,
            "trace_id": span.trace_id or None,
            "span_id": span.span_id or None,
            "completion_id": completion_id,
        }
    )
    if USAGE in found:
        facts |= token_facts(_json(found[USAGE]))
    return submission(_request_id(span, completion_id), None, facts)


def _is_generation(attributes: Mapping[str, Any]) -> bool:
    if (kind := attributes.get(OBSERVATION)) is not None:
        return bool(kind == "generation")
    if (operation := attributes.get(OPERATION)) is not None:
        return operation in GENERATIONS
    return _first(attributes, MODEL) is not None


def _cost(attributes: Mapping[str, Any]) -> Any:
    cost = total_cost(_json(attributes.get(COSTS)))
    return _first(attributes, COST) if cost is None else cost


def read_record(record: TracedSpan) -> Submission | None:
    """Return the score of an evaluation's result, None for any other log record; raise Rejection."""
    found = record.attributes
    if found.get(RECORD_NAME) != EVALUATION:
        return None
    name, score, label = found.get(NAME), found.get(SCORE), found.get(LABEL)
    if not isinstance(name, str):
        raise invalid(BodyFault(NAME, "must be a string"))
    if score is None and label is None:
        raise invalid(BodyFault(SCORE, f"is missing, and so is {LABEL}: one of both is needed"))
    values = {
        "comment": found.get(EXPLANATION),
        RATER: _first(found, USER),
        f"{name}_label": None if score is None else label,
        name: label if score is None else score,
    }
    item_id = found.get(RECORD_ID)
    return submission(
        _request_id(record, _first(found, COMPLETION_ID)),
        known(values),
        item_id=item_id if isinstance(item_id, str) else "",
        at=_time(record.start),
    )


def _request_id(span: TracedSpan, completion_id: Any) -> str:
    if isinstance(completion_id, str) and completion_id:
        return completion_id
    if not span.trace_id:
        raise invalid(BodyFault("traceId", f"is missing, and so is {COMPLETION_ID[0]}; one is needed"))
    return f"{span.trace_id}:{span.span_id}" if span.span_id else span.trace_id


def _first(attributes: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if name in attributes:
            return attributes[name]
    return None


def _json(value: Any) -> Any:
    """Return the value of a text that is a JSON object or list, and any other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _time(nanoseconds: int) -> str | None:
    try:
        return rfc3339(EPOCH + timedelta(microseconds=nanoseconds // 1000)) if nanoseconds > 0 else None
    except OverflowError:
        return None


def read_traces(call: DialectCall) -> list[Item]:
    """Return an item for each span."""
    if call.media_type == JSON_TYPE:
        spans = _json_parts(call.body, "resourceSpans", "scopeSpans", "spans")
        return items_each((("", span) for span in spans), lambda span: read_span(_json_span(span)))
    request = _parsed(ExportTraceServiceRequest(), call.body)
    found = (span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans)
    return items_each((("", span) for span in found), lambda span: read_span(_span(span)))


def read_logs(call: DialectCall) -> list[Item]:
    """Return an item for each log record."""
    if call.media_type == JSON_TYPE:
        records = _json_parts(call.body, "resourceLogs", "scopeLogs", "logRecords")
        return items_each((("", record) for record in records), lambda one: read_record(_json_span(one)))
    request = _parsed(ExportLogsServiceRequest(), call.body)
    found = (
        one for group in request.resource_logs for scope in group.scope_logs for one in scope.log_records
    )
    return items_each((("", record) for record in found), lambda record: read_record(_record(record)))


def _parsed(message: Any, body: bytes) -> Any:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        detail = f"the body is not an {type(message).__name__} in protobuf: {error}"
        raise Rejection(Code.MALFORMED_JSON, detail) from None
    return message


def _span(span: Any) -> TracedSpan:
    return TracedSpan(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        {pair.key: _value(pair.value) for pair in span.attributes if pair.key in READ},
        span.status.code == ERROR,
    )


def _record(record: Any) -> TracedSpan:
    attributes = {pair.key: _value(pair.value) for pair in record.attributes if pair.key in READ}
    if record.event_name:
        attributes[RECORD_NAME] = record.event_name
    time = record.time_unix_nano or record.observed_time_unix_nano
    return TracedSpan(record.trace_id.hex(), record.span_id.hex(), time, time, attributes)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return value.bytes_value.hex()
    if kind == "double_value" and not isfinite(value.double_value):
        return None
    return getattr(value, kind) if kind is not None else None


def _json_parts(body: bytes, *names: str) -> Iterator[Any]:
    """Yield what is in lists of these names inside one another; raise Rejection."""
    parts: Iterable[Any] = [decoded(body)]
    for name in names:
        parts = [inner for part in parts for inner in member(part, name, list) or ()]
    yield from parts


def _json_span(span: Any) -> TracedSpan:
    """Return a span or a log record of OTLP's JSON, whose ids are hexadecimal; raise Rejection."""
    pairs = member(span, "attributes", list) or ()
    attributes = {pair["key"]: _json_value(pair.get("value")) for pair in pairs if _is_read(pair)}
    if name := member(span, "eventName", str):
        attributes[RECORD_NAME] = name
    times = (_integer(span.get(name)) for name in STARTS)
    return TracedSpan(
        (member(span, "traceId", str) or "").lower(),
        (member(span, "spanId", str) or "").lower(),
        next(filter(None, times), 0),
        _integer(span.get("endTimeUnixNano")),
        attributes,
        (member(span, "status", dict) or {}).get("code") in (ERROR, "STATUS_CODE_ERROR"),
    )


STARTS = ("startTimeUnixNano", "timeUnixNano", "observedTimeUnixNano")
LONGEST_INTEGER = 20


def _is_read(pair: Any) -> bool:
    name = pair.get("key") if isinstance(pair, dict) else None
    return isinstance(name, str) and name in READ


def _json_value(value: Any) -> Any:
    """Return the value of an AnyValue in JSON, None if it has none."""
    if not isinstance(value, dict):
        return None
    for kind in ("stringValue", "doubleValue", "boolValue", "bytesValue"):
        if kind in value:
            return value[kind]
    if "intValue" in value:
        return _integer(value["intValue"])
    if isinstance(inner := value.get("arrayValue"), dict):
        return [_json_value(one) for one in _list(inner)]
    if isinstance(inner := value.get("kvlistValue"), dict):
        pairs = [pair for pair in _list(inner) if isinstance(pair, dict)]
        return {str(pair.get("key")): _json_value(pair.get("value")) for pair in pairs}
    return None


def _list(value: dict[str, Any]) -> list[Any]:
    found = value.get("values")
    return found if isinstance(found, list) else []


def _integer(value: Any) -> int:
    """Return a 64-bit integer, which JSON has as a text or a number; 0 for anything else."""
    if isinstance(value, str) and len(value) <= LONGEST_INTEGER and value.isascii() and value.isdecimal():
        return int(value)
    return value if type(value) is int else 0


def answer_traces(call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return an empty response, or how many spans are rejected and why the first one is."""
    rejected, detail = _rejected(outcomes)
    if call.media_type == JSON_TYPE:
        return _json_answer("rejectedSpans", rejected, detail)
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=detail) if rejected else None
    return _protobuf_answer(ExportTraceServiceResponse(partial_success=partial))


def answer_logs(call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return an empty response, or how many log records are rejected and why the first one is."""
    rejected, detail = _rejected(outcomes)
    if call.media_type == JSON_TYPE:
        return _json_answer("rejectedLogRecords", rejected, detail)
    partial = None
    if rejected:
        partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=detail)
    return _protobuf_answer(ExportLogsServiceResponse(partial_success=partial))


def _rejected(outcomes: Sequence[ItemOutcome]) -> tuple[int, str]:
    details = [one.result.detail for one in outcomes if isinstance(one.result, Rejection)]
    return len(details), details[0] if details else ""


def _json_answer(count: str, rejected: int, detail: str) -> Reply:
    partial = {"partialSuccess": {count: str(rejected), "errorMessage": detail}} if rejected else {}
    return Reply(200, orjson.dumps(partial))


def _protobuf_answer(message: Any) -> Reply:
    return Reply(200, message.SerializeToString(), PROTOBUF_TYPE.encode())


GRPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 422: 3, 429: 8, 500: 13, 503: 14}
"""Codes of google.rpc.Status for statuses; others are 2, unknown."""


def problem(rejection: Rejection, content_type: bytes = b"") -> Reply:
    """Return an error as google.rpc.Status, in the encoding of the request's Content-Type."""
    code = GRPC_CODES.get(rejection.status, 2)
    if not content_type.startswith(PROTOBUF_TYPE.encode()):
        return Reply(rejection.status, orjson.dumps({"code": code, "message": rejection.detail}))
    detail = rejection.detail.encode("utf-8", "replace")
    status = b"\x08%c\x12%b%b" % (code, _varint(len(detail)), detail)
    return Reply(rejection.status, status, PROTOBUF_TYPE.encode())


def _varint(number: int) -> bytes:
    """Return a number as protobuf has it: seven bits a byte, the low ones first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def traces_route(path: str) -> ItemsRoute:
    """Return the route that takes spans, for this dialect or another one."""
    return ItemsRoute(
        method="POST",
        path=path,
        read_items=read_traces,
        answer_items=answer_traces,
        media_types=(JSON_TYPE, PROTOBUF_TYPE),
        problem=problem,
        doc=RouteDoc("Export spans", _example("resourceSpans", "scopeSpans", "spans", SPAN), {}),
    )


def _example(resources: str, scopes: str, items: str, item: Any) -> Any:
    return {resources: [{scopes: [{items: [item]}]}]}


def _pair(name: str, kind: str, value: Any) -> Any:
    return {"key": name, "value": {kind: value}}


SPAN = {
    "traceId": "80451b0b682e11f7eca569b328476b7a",
    "spanId": "f433158a7dd4d8fd",
    "name": "chat gpt-4o",
    "startTimeUnixNano": "1796099119073000000",
    "endTimeUnixNano": "1796099119448000000",
    "attributes": [
        _pair(OPERATION, "stringValue", "chat"),
        _pair(MODEL[0], "stringValue", "gpt-4o"),
        _pair(COMPLETION_ID[0], "stringValue", "chatcmpl-1"),
        _pair(PROMPT_TOKENS[0], "intValue", "12"),
    ],
}
RECORD = {
    "eventName": EVALUATION,
    "timeUnixNano": "1796099120000000000",
    "attributes": [
        _pair(NAME, "stringValue", "user_feedback"),
        _pair(SCORE, "doubleValue", 1),
        _pair(COMPLETION_ID[0], "stringValue", "chatcmpl-1"),
    ],
}

DIALECT = Dialect(
    "otel",
    (
        traces_route("/v1/traces"),
        ItemsRoute(
            method="POST",
            path="/v1/logs",
            read_items=read_logs,
            answer_items=answer_logs,
            media_types=(JSON_TYPE, PROTOBUF_TYPE),
            doc=RouteDoc(
                "Export log records", _example("resourceLogs", "scopeLogs", "logRecords", RECORD), {}
            ),
            problem=problem,
        ),
    ),
    problem=problem,
    territory=("/v1/metrics",),
)
