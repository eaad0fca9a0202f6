"""TensorZero: `POST /feedback` with a metric, a comment or a demonstration for an inference or an episode.

The id of the answer is that of the event.  A dry run is validated, and writes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from services.ingest.core.errors import BodyFault, Rejection, invalid
from services.ingest.core.validation import decoded
from services.ingest.dialects.dialect import (
    Dialect,
    DialectCall,
    Item,
    ItemOutcome,
    ItemsRoute,
    Reply,
    RouteDoc,
    Submission,
    member,
    number,
    receipts,
    required,
    score_key,
    submission,
)

COMMENT = "comment"
DEMONSTRATION = "demonstration"
"""Names of metrics that every TensorZero has, with a text or an output as value."""

RATER = "user_id"
"""The tag that names who gave the feedback."""


def read(value: Any) -> Submission | None:
    """Return the submission of a body, None for a dry run; raise Rejection."""
    name = required(value, "metric_name", str)
    target = _target(value, is_inference=name == DEMONSTRATION)
    data = {name if name == COMMENT else score_key(name): _value(value, name)}
    tags = dict(member(value, "tags", dict) or {})
    rater = tags.pop(RATER, None)
    if tags:
        data[f"{name}_metadata"] = tags
    if rater is not None:
        data[RATER] = rater
    found = submission(target, data)
    return None if member(value, "dryrun", bool) else found


def _target(value: Any, *, is_inference: bool) -> str:
    inference, episode = (member(value, name, str) for name in ("inference_id", "episode_id"))
    if is_inference and episode is not None:
        raise invalid(BodyFault("episode_id", "cannot have a demonstration; it needs an inference_id"))
    if inference is None and episode is None:
        raise invalid(BodyFault("inference_id", "is missing, and so is episode_id: one of both is needed"))
    if inference is not None and episode is not None:
        raise invalid(BodyFault("episode_id", "is given beside inference_id; only one of both is allowed"))
    return str(episode if inference is None else inference)


def _value(value: Any, name: str) -> Any:
    if name == COMMENT:
        return required(value, "value", str)
    if name == DEMONSTRATION:
        return required(value, "value", object)
    return number(value, "value")


def read_items(call: DialectCall) -> list[Item]:
    """Return one item; raise Rejection."""
    return [Item("", read(decoded(call.body)))]


def answer_items(call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the answer with the id of the feedback."""
    (receipt,) = receipts(outcomes)
    feedback_id = _unused_id(call.now) if receipt is None else receipt.event_id
    return Reply(200, orjson.dumps({"feedback_id": feedback_id}))


def _unused_id(now: datetime) -> str:
    """Return a UUIDv7 for feedback that is not written."""
    microseconds = int(now.timestamp() * 1_000_000)
    digits = f"{microseconds // 1000:012x}"
    return f"{digits[:8]}-{digits[8:]}-7{microseconds % 1000:03x}-8000-000000000000"


def problem(rejection: Rejection) -> Reply:
    """Return an error in TensorZero's form."""
    return Reply(rejection.status, orjson.dumps({"error": rejection.detail}))


def fits(value: Any) -> bool:
    """Return whether a body is TensorZero's."""
    return isinstance(value, dict) and "metric_name" in value


DIALECT = Dialect(
    "tensorzero",
    (
        ItemsRoute(
            method="POST",
            path="/feedback",
            read_items=read_items,
            answer_items=answer_items,
            fits=fits,
            looks_for="an object with `metric_name`",
            doc=RouteDoc(
                "Give feedback on an inference or an episode",
                {
                    "inference_id": "018f0000-0000-7000-8000-000000000001",
                    "metric_name": "thumbs_up",
                    "value": True,
                    "tags": {"user_id": "u1"},
                },
                {"feedback_id": "0199e1c2-4a60-7001-8000-5f3a9c0d1e2f"},
            ),
        ),
    ),
    problem=problem,
    territory=("/inference", "/batch_inference"),
)
