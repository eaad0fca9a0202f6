"""What an operator does about each reason.  Pure; the page about operation has the same texts."""

from types import MappingProxyType
from typing import NamedTuple

from schemas.deadletters import Reason
from services.query.reads.core import advice as reading


class Advice(NamedTuple):
    """For people who look at a dead letter for the first time."""

    meaning: str
    to_do: str


TO_DO = MappingProxyType(
    {
        Reason.MALFORMED_EVENT: (
            "Find out which program wrote it: ingest does not. Replay it with a corrected body, or drop it."
        ),
        Reason.INVALID_REPLAY: (
            "Drop it. What it was made from is a dead letter of its own: replay that one."
        ),
        Reason.IDEMPOTENCY_CONFLICT: (
            "Drop it if the first body was meant. If both were, replay it with `--as-new-events`."
        ),
        Reason.ROW_TOO_LARGE: ("Replay it with a smaller body, or as it is once its row has become smaller."),
        Reason.DAMAGED_STATE: (
            "Stop the mergers, mend the state with `afterword rebuild --state`, start them, and replay it."
        ),
        Reason.CRASHED: (
            "Report it: this is a bug. Once the merger that runs has it mended, replay it by its id."
        ),
        Reason.REFUSED_BY_CLICKHOUSE: (
            "Bring the tables up to date with `afterword migrate`, then replay it."
        ),
    }
)
UNKNOWN = "Look at its bytes: what is worth keeping can be sent again over HTTP. Then drop it."


def advice(reason: str) -> Advice:
    """Return what happened and what to do, whatever the reason is."""
    meaning, _ = reading.advice(reason)
    return Advice(meaning, TO_DO[Reason(reason)] if reason in frozenset(Reason) else UNKNOWN)
