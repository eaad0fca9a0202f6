"""What consumer processes share: their arguments, `accept-loss`, and how they refuse to start."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from services.pipeline.core.continuity import ContinuityError
from services.runtime.audit_log import AuditError, audited
from services.runtime.exit_codes import DONE, FOUND, INTERRUPTED, UNREACHABLE, complain
from services.runtime.kafka.lost_records import Agree, Loss, StillRunningError

log = structlog.get_logger()

ACCEPT_LOSS = "accept-loss"


def parser(service: str, description: str, *, loss: str) -> argparse.ArgumentParser:
    """Return the arguments of a service; `loss` describes the records that positions may be moved past."""
    service_parser = argparse.ArgumentParser(
        prog=f"afterword {service}",
        description=description,
        epilog=f"Settings are environment variables: `afterword config check {service}` shows them.",
    )
    commands = service_parser.add_subparsers(dest="command", metavar="")
    accepting = commands.add_parser(
        ACCEPT_LOSS,
        help=f"continue although {loss}",
        description="Move the positions to the start of the log, past what is gone.",
    )
    accepting.add_argument("--yes", action="store_true", help="do not ask")
    return service_parser


def refuse(service: str, error: ContinuityError) -> int:
    """Report why a service must not start, to the operator and to the log; return the exit code."""
    complain(service, str(error), FOUND)
    for problem in error.problems:
        # No traceback: the text has the fix.
        log.error("start refused", problem=problem.kind, text=problem.text, mend=problem.mend)
    return FOUND


def accept_loss(
    service: str,
    accept: Callable[[Agree], Coroutine[Any, Any, Sequence[Loss]]],
    *,
    sure: bool,
    refusals: tuple[type[Exception], ...] = (),
    unreachable: tuple[type[Exception], ...] = (),
) -> int:
    """Show what is lost, ask unless `sure`, and have it accepted; the exit code.

    `refusals` and `unreachable` are what `accept` raises beside StillRunningError, KafkaError and OSError.
    """

    def agree(losses: Sequence[Loss]) -> bool:
        for loss in losses:
            sys.stdout.write(f"{loss}\n")
        if not sure and not _is_yes(input("These are gone.  Go on without them? [y/N] ")):
            return False
        acts.enter_context(audited(f"{service} {ACCEPT_LOSS}", losses=[str(loss) for loss in losses]))
        return True

    refused: tuple[type[Exception], ...] = (StillRunningError, *refusals)
    away: tuple[type[Exception], ...] = (KafkaError, OSError, *unreachable)
    try:
        with ExitStack() as acts:
            accepted = asyncio.run(accept(agree))
    except refused as error:
        return complain(service, str(error), FOUND)
    except away as error:
        return complain(service, f"a server does not answer: {error}", UNREACHABLE)
    except AuditError as error:
        return complain(service, str(error), FOUND)
    except (KeyboardInterrupt, EOFError):
        return INTERRUPTED
    sys.stdout.write(f"{len(accepted)} losses accepted.\n" if accepted else "Nothing was changed.\n")
    return DONE


def _is_yes(answer: str) -> bool:
    return answer.strip().lower() in ("y", "yes")
