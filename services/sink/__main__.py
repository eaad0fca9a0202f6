"""The sink as a process: `python -m services.sink`; `afterword sink` runs the same `main`."""

import asyncio
import signal
import sys
from collections.abc import Sequence

import uvloop

from services.pipeline import consumer_process
from services.pipeline.core.continuity import ContinuityError
from services.runtime import logs
from services.runtime.clickhouse.insert import ClickHouseWriter, UnavailableError
from services.runtime.exit_codes import DONE, USAGE, complain, unlistenable
from services.runtime.kafka.lost_records import Agree, Loss
from services.runtime.process import begin_again, collect_seldom, give_back
from services.runtime.settings import SettingsError, load
from services.sink.accept_loss import accept_loss
from services.sink.app import run
from services.sink.settings import SinkSettings

GARBAGE_THRESHOLDS = 20_000, 20, 100
"""A batch keeps its records until it is stored; checking all of them for reference cycles at Python's default
rate costs more than reading them: 3.0 against 1.3 microseconds a record."""

_PARSER = consumer_process.parser(
    "sink",
    "Stores states, events and dead letters in ClickHouse.",
    loss="records were deleted from the log before they were stored",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sink or the subcommand of the arguments; returns the exit code."""
    parsed = _PARSER.parse_args(arguments)
    try:
        settings = load(SinkSettings)
    except SettingsError as error:
        return complain("sink", str(error), USAGE)
    if parsed.command == consumer_process.ACCEPT_LOSS:
        return consumer_process.accept_loss(
            "sink",
            lambda agree: _accepted(settings, agree),
            sure=parsed.yes,
            unreachable=(UnavailableError,),
        )
    logs.configure("sink", settings)
    return _serve(settings)


def _serve(settings: SinkSettings) -> int:
    """Run until SIGTERM or SIGINT, store what was read, and return the exit code."""
    collect_seldom(*GARBAGE_THRESHOLDS)
    give_back()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            moved = runner.run(_run(settings))
    except ContinuityError as error:
        return consumer_process.refuse("sink", error)
    except OSError as error:
        address = settings.sink_metrics_host, settings.sink_metrics_port
        reason = unlistenable(error, *address, "SINK_METRICS")
        if reason is None:
            raise
        return complain("sink", reason, USAGE)
    if moved:
        begin_again()
    return DONE


async def _run(settings: SinkSettings) -> bool:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await run(settings, stop)


async def _accepted(settings: SinkSettings, agree: Agree) -> Sequence[Loss]:
    writer = ClickHouseWriter(settings, settings.sink_insert_timeout_seconds)
    try:
        return await accept_loss(settings, writer, agree)
    finally:
        await writer.close()


if __name__ == "__main__":
    sys.exit(main())
