"""Structured logs on standard output: JSON for machines, lines for people on a terminal."""

import logging
import sys
from typing import Any

import orjson
import structlog

from services.runtime.repeats import Repeats
from services.runtime.settings import LogSettings

NOISY = {"aiokafka": logging.ERROR, "uvicorn.access": logging.WARNING, "clickhouse_connect": logging.WARNING}
"""Libraries that repeat themselves while a server is away; our own parts say it once."""


def configure(service: str, settings: LogSettings) -> None:
    """Send everything that is logged in this process, libraries included, to standard output.

    The rim of the process calls this once.  Each line carries the service's name.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _name(service),
    ]
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stdout.isatty())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(_json)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(Repeats("aiokafka"))
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    for name, level in NOISY.items():
        logging.getLogger(name).setLevel(level)
    if settings.passed_over:
        structlog.get_logger().info("service links passed over", variables=settings.passed_over)


def _name(service: str) -> structlog.types.Processor:
    def add(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        return {"service": service, **event}

    return add


def _json(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
