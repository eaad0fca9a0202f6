"""Exports a span of generative AI and its evaluation with OpenTelemetry's SDK."""

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from report import arguments, call

address, key, run = arguments()
headers = {"authorization": f"Bearer {key}"}

spans = TracerProvider()
span_exporter = OTLPSpanExporter(f"{address}/v1/traces", headers=headers, compression=Compression.Gzip)
spans.add_span_processor(SimpleSpanProcessor(span_exporter))
logs = LoggerProvider()
logs.add_log_record_processor(
    SimpleLogRecordProcessor(OTLPLogExporter(f"{address}/v1/logs", headers=headers))
)

with spans.get_tracer("test").start_as_current_span("chat gpt-4o") as span:
    for name, value in {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": f"chatcmpl-{run}",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 5,
    }.items():
        span.set_attribute(name, value)
    evaluation = LogRecord(
        event_name="gen_ai.evaluation.result",
        severity_number=SeverityNumber.INFO,
        attributes={
            "gen_ai.evaluation.name": "relevance",
            "gen_ai.evaluation.score.value": 0.8,
            "gen_ai.evaluation.explanation": "close",
            "gen_ai.response.id": f"chatcmpl-{run}",
        },
    )
    logs.get_logger("test").emit(evaluation)

call("flush spans", spans.force_flush)
call("flush logs", logs.force_flush)
