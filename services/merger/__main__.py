"""`python -m services.merger`, which `afterword merger` calls too."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import structlog
from aiokafka.errors import KafkaError

from services.merger.accept_loss import Loss, StillRunning, accept_loss
from services.merger.directory import DirectoryUnusable
from services.merger.service import run
from services.merger.settings import MergerSettings
from services.runtime.continuity import ContinuityError
from services.runtime.logs import configure
from services.runtime.settings import SettingsError, load

log = structlog.get_logger()

_TALKATIVE = ("faust", "mode", "uvicorn.error")
"""Libraries that tell at `info` how each of their parts starts and stops."""

DONE, FAILED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 75, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the merger, or what the arguments name; returns the exit code of `afterword`."""
    wanted = _parser().parse_args(arguments)
    try:
        settings = load(MergerSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    if wanted.command == "accept-loss":
        return _accept_loss(settings, sure=wanted.yes)
    configure("merger", settings)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)
    return _serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="afterword merger",
        description="Folds the events of each request into its latest state, in Kafka transactions.",
        epilog="Settings are environment variables: `afterword config check merger` shows them.",
    )
    commands = parser.add_subparsers(dest="command", metavar="")
    loss = commands.add_parser(
        "accept-loss",
        help="go on although events were deleted from the log before they were merged",
        description="Move the merger's position to the start of the log, past events that are gone.",
    )
    loss.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _serve(settings: MergerSettings) -> int:
    try:
        asyncio.run(run(settings))
    except ContinuityError as error:
        for found in error.problems:
            log.critical("merger refused to start", kind=found.kind, problem=found.text, mend=found.mend)
        return FAILED
    except (DirectoryUnusable, OSError) as error:
        log.critical("merger cannot start", problem=str(error))
        return USAGE
    return DONE


def _accept_loss(settings: MergerSettings, *, sure: bool) -> int:
    def agree(losses: Sequence[Loss]) -> bool:
        for loss in losses:
            sys.stdout.write(f"{loss}\n")
        return sure or input("These are gone.  Go on without them? [y/N] ").strip().lower() in ("y", "yes")

    try:
        accepted = asyncio.run(accept_loss(settings, agree))
    except (StillRunning, DirectoryUnusable) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except (KafkaError, OSError) as error:
        sys.stderr.write(f"Kafka at {settings.kafka_bootstrap_servers} does not answer: {error}\n")
        return UNREACHABLE
    except (KeyboardInterrupt, EOFError):
        return INTERRUPTED
    sys.stdout.write(f"{len(accepted)} losses accepted.\n" if accepted else "Nothing was changed.\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
