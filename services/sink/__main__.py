"""The sink as a process: `python -m services.sink`, which `afterword sink` calls too."""

import argparse
import asyncio
import errno
import gc
import signal
import sys
from collections.abc import Callable, Sequence

import structlog
import uvloop
from aiokafka.errors import KafkaError

from services.runtime import logs
from services.runtime.continuity import ContinuityError
from services.runtime.settings import SettingsError, load
from services.sink.accept_loss import Loss, StillRunningError, accept_loss
from services.sink.app import run
from services.sink.settings import SinkSettings
from services.sink.writer import ClickHouseWriter, UnavailableError

log = structlog.get_logger()

GARBAGE_THRESHOLDS = 20_000, 20, 100
"""A batch keeps its records until it is stored; looking at all of them for cycles, as often as Python does by
itself, costs more than reading them: 3.0 against 1.3 microseconds a record."""

DONE, REFUSED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 75, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sink, or what the arguments name; returns the exit code of `afterword`."""
    wanted = _parser().parse_args(arguments)
    try:
        settings = load(SinkSettings)
    except SettingsError as error:
        return _complain(str(error), USAGE)
    if wanted.command == "accept-loss":
        return _accept_loss(settings, sure=wanted.yes)
    logs.configure("sink", settings)
    return _serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="afterword sink",
        description="Stores states, events and dead letters in ClickHouse.",
        epilog="Settings are environment variables: `afterword config check sink` shows them.",
    )
    commands = parser.add_subparsers(dest="command", metavar="")
    loss = commands.add_parser(
        "accept-loss",
        help="go on although records were deleted from the log before they were stored",
        description="Move the sink's positions to the start of the log, past records that are gone.",
    )
    loss.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _serve(settings: SinkSettings) -> int:
    """Run until SIGTERM or SIGINT, and store what was read."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
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
    return DONE


async def _run(settings: SinkSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(settings, stop)


def _accept_loss(settings: SinkSettings, *, sure: bool) -> int:
    def agree(losses: Sequence[Loss]) -> bool:
        for loss in losses:
            sys.stdout.write(f"{loss}\n")
        return sure or input("These are gone.  Go on without them? [y/N] ").strip().lower() in ("y", "yes")

    try:
        accepted = asyncio.run(_accepted(settings, agree))
    except StillRunningError as error:
        return _complain(str(error), REFUSED)
    except (KafkaError, UnavailableError, OSError) as error:
        return _complain(f"a server does not answer: {error}", UNREACHABLE)
    except (KeyboardInterrupt, EOFError):
        return INTERRUPTED
    sys.stdout.write(f"{len(accepted)} losses accepted.\n" if accepted else "Nothing was changed.\n")
    return DONE


async def _accepted(settings: SinkSettings, agree: Callable[[Sequence[Loss]], bool]) -> Sequence[Loss]:
    writer = ClickHouseWriter(settings, settings.sink_insert_timeout_seconds)
    try:
        return await accept_loss(settings, writer, agree)
    finally:
        await writer.close()


def _complain(message: str, code: int) -> int:
    for line in message.splitlines():
        print(f"sink: {line}", file=sys.stderr)  # noqa: T201 (for people who start it by hand)
    return code


if __name__ == "__main__":
    sys.exit(main())
