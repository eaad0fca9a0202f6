"""What a dead letter's reason means, and what to do about it, in words.  Pure."""

from schemas.deadletters import Reason

ADVICE: dict[str, tuple[str, str]] = {
    Reason.MALFORMED_EVENT: (
        "The record is not an event, or its key and its body disagree.",
        "Find out which program wrote it: ingest does not. Replay it with a corrected body, or drop it.",
    ),
    Reason.INVALID_REPLAY: (
        "The record says that it is a replay, but names no place that a replay can take.",
        "Drop it. What it was made from is a dead letter of its own: replay that one.",
    ),
    Reason.IDEMPOTENCY_CONFLICT: (
        "An Idempotency-Key was used again for another body. The first one stands.",
        "If the second one was meant, send it again with a new key: every new body needs one. Else drop it.",
    ),
    Reason.ROW_TOO_LARGE: (
        "With this event, the request would have more keys or bytes than a row may have.",
        "Replay it with a smaller body, or drop it; and say less about one request.",
    ),
    Reason.DAMAGED_STATE: (
        "The state of the request in the state topic is damaged, so nothing can be merged into it.",
        "Stop the mergers, mend the state with `afterword rebuild --state`, start them, and replay it.",
    ),
    Reason.CRASHED: (
        "The merger ended again and again while it merged this record, and set it aside.",
        "This is a fault of Afterword: please report it. Once the merger is mended, replay it.",
    ),
    Reason.REFUSED_BY_CLICKHOUSE: (
        "ClickHouse does not take the row, however often it is sent.",
        "Bring the tables up to date with `afterword migrate`, then replay it.",
    ),
}
"""For each reason of a dead letter: what happened, and what to do about it."""

UNKNOWN = (
    "Its headers are not Afterword's, so nothing is known about it.",
    "Another program wrote to the dead-letter topic; the record may say which.",
)


def advice(reason: str) -> tuple[str, str]:
    """Return what happened and what to do, for a reason."""
    return ADVICE.get(reason, UNKNOWN)
