"""Structured logs on standard output: JSON, or text on a terminal."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
import structlog

from services.runtime.settings import LogSettings

EVERY_SECONDS = 10.0
"""Between two records from the same place of a library."""


class RepeatFilter(logging.Filter):
    """Passes the first record of each line of code, and then one every `every` seconds.

    A client library that cannot reach its server logs that many times a second, for as long as it lasts.
    A record that follows on others which were held back has their number as `repeated`.  Records of other
    loggers than the library's pass.
    """

    def __init__(
        self, library: str, every: float = EVERY_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(library)
        self._every, self._clock = every, clock
        self._places: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged.  A handler calls it, one record at a time."""
        if not super().filter(record):
            return True
        place, now = (record.pathname, record.lineno), self._clock()
        until, held = self._places.get(place, (now, 0))
        if now < until:
            self._places[place] = until, held + 1
            return False
        self._places[place] = now + self._every, 0
        if held:
            record.repeated = held
        return True


NOISY = {"aiokafka": logging.ERROR, "uvicorn.access": logging.WARNING, "clickhouse_connect": logging.WARNING}
"""Libraries that repeat themselves while a server is away; our own parts log it once."""


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
    handler.addFilter(RepeatFilter("aiokafka"))
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
