"""The sink as a process: `python -m services.sink`."""

import asyncio
import errno
import signal
import sys

import structlog
import uvloop

from services.runtime import logs
from services.runtime.continuity import ContinuityError
from services.runtime.settings import SettingsError, load
from services.sink.app import run
from services.sink.settings import SinkSettings

log = structlog.get_logger()

REFUSED, USAGE = 1, 2


def main() -> int:
    """Run until SIGTERM or SIGINT, store what was read, and return 0; 1 or 2 when it must not run."""
    try:
        settings = load(SinkSettings)
    except SettingsError as error:
        return _complain(str(error), USAGE)
    logs.configure("sink", settings)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings))
    except ContinuityError as error:
        for problem in error.problems:
            # No traceback: where it was found does not matter, and the text says what mends it.
            log.error("start refused", problem=problem.kind, text=problem.text, mend=problem.mend)  # noqa: TRY400
        return _complain(str(error), REFUSED)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        place = f"{settings.sink_metrics_host}:{settings.sink_metrics_port}"
        return _complain(
            f"{place} is taken by another program: stop it, or set SINK_METRICS_PORT to a free port", USAGE
        )
    return 0


async def _run(settings: SinkSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(settings, stop)


def _complain(message: str, code: int) -> int:
    for line in message.splitlines():
        print(f"sink: {line}", file=sys.stderr)  # noqa: T201 (for people who start it by hand)
    return code


if __name__ == "__main__":
    sys.exit(main())
