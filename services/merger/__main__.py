"""The merger as a process: `python -m services.merger`; `afterword merger` runs the same `main`."""

import asyncio
import logging
import sys
from collections.abc import Sequence

from services.merger.accept_loss import accept_loss
from services.merger.directory import DirectoryUnusable
from services.merger.service import run
from services.merger.settings import MergerSettings
from services.pipeline import consumer_process
from services.pipeline.core.continuity import ContinuityError
from services.runtime.exit_codes import DONE, USAGE, complain, unlistenable
from services.runtime.logs import configure
from services.runtime.process import begin_again, give_back
from services.runtime.settings import SettingsError, load

_VERBOSE = ("faust", "mode", "uvicorn.error")
"""Libraries that log at `info` how each of their services starts and stops."""

_PARSER = consumer_process.parser(
    "merger",
    "Folds the events of each request into its latest state, in Kafka transactions.",
    loss="events were deleted from the log before they were merged",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the merger or the subcommand of the arguments; returns the exit code."""
    parsed = _PARSER.parse_args(arguments)
    try:
        settings = load(MergerSettings)
    except SettingsError as error:
        return complain("merger", str(error), USAGE)
    if parsed.command == consumer_process.ACCEPT_LOSS:
        return consumer_process.accept_loss(
            "merger",
            lambda agree: accept_loss(settings, agree),
            sure=parsed.yes,
            refusals=(DirectoryUnusable,),
        )
    configure("merger", settings)
    for library in _VERBOSE:
        logging.getLogger(library).setLevel(logging.WARNING)
    return _serve(settings)


def _serve(settings: MergerSettings) -> int:
    """Run until SIGTERM or SIGINT, and return the exit code."""
    give_back()
    try:
        moved = asyncio.run(run(settings))
    except ContinuityError as error:
        return consumer_process.refuse("merger", error)
    except DirectoryUnusable as error:
        return complain("merger", str(error), USAGE)
    except OSError as error:
        address = settings.merger_metrics_host, settings.merger_metrics_port
        return complain("merger", unlistenable(error, *address, "MERGER_METRICS") or str(error), USAGE)
    if moved:
        begin_again()
    return DONE


if __name__ == "__main__":
    sys.exit(main())
