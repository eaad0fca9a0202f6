"""GPTBoost: a vote with `message_id` and `rating`, answered 200, 208 or 404.

An empty comment and empty tags count as absent.  Other fields are stored unchanged.
"""

from typing import Any

import orjson

from services.ingest.core.validation import DECODE_ERRORS, Faults, decode_gptboost, json_type, parse
from services.ingest.dialects.dialect import (
    Dialect,
    Receipt,
    ReceiptStatus,
    Reply,
    SingleRoute,
    Submission,
    checked_id,
)

RATINGS = ("positive", "negative", "amazing")
OPTIONAL = ("comment", "tags")
STATUS = {ReceiptStatus.ACCEPTED: 200, ReceiptStatus.REPEATED: 208, ReceiptStatus.UNKNOWN: 404}


def read(_request_id: str, body: bytes) -> Submission:
    """Return the submission of a vote."""
    try:
        vote = decode_gptboost(body)
    except DECODE_ERRORS:
        return _validated(parse(body))
    data: dict[str, Any] = {"rating": vote.rating}
    if vote.comment:
        data["comment"] = vote.comment
    if vote.tags:
        data["tags"] = vote.tags
    return Submission(checked_id(vote.message_id, "message_id"), data)


def _validated(value: Any) -> Submission:
    faults = Faults()
    if not isinstance(value, dict):
        faults.add("", f"must be an object with message_id and rating, not {json_type(value)}")
        faults.raise_if_any()
    _validate_id(faults, value)
    if value.get("rating") not in RATINGS:
        faults.add("rating", f"must be one of {', '.join(RATINGS)}")
    comment, tags = value.get("comment"), value.get("tags")
    if not isinstance(comment, str | None):
        faults.add("comment", f"must be a string, not {json_type(comment)}")
    _validate_tags(faults, tags)
    data = {name: item for name, item in value.items() if _is_present(name, item)}
    faults.fields("", data)
    faults.raise_if_any()
    return Submission(checked_id(value["message_id"], "message_id"), data)


def _validate_id(faults: Faults, value: dict[str, Any]) -> None:
    message_id = value.get("message_id")
    if not isinstance(message_id, str):
        faults.add(
            "message_id", "is missing: the id of the completion" if message_id is None else "must be a string"
        )
    else:
        faults.text("message_id", message_id)


def _validate_tags(faults: Faults, tags: Any) -> None:
    if not isinstance(tags, list | None):
        faults.add("tags", f"must be a list of strings, not {json_type(tags)}")
    for index, tag in enumerate(tags if isinstance(tags, list) else ()):
        if not isinstance(tag, str) and not faults.is_full:
            faults.add(f"tags[{index}]", f"must be a string, not {json_type(tag)}")


def _is_present(name: str, value: Any) -> bool:
    return name != "message_id" and (name not in OPTIONAL or bool(value))


def repeats(stored: dict[str, Any], data: dict[str, Any]) -> bool:
    """Return whether a vote has the stored rating, comment and tags, and no new or changed field."""
    return all(
        (stored.get(name) or None) == (data.get(name) or None) for name in ("rating", *OPTIONAL)
    ) and all(name in stored and stored[name] == value for name, value in data.items())


def answer(receipt: Receipt) -> Reply:
    """Return the answer with status 200, 208 or 404."""
    body: dict[str, Any] = {"status": receipt.status, "message_id": receipt.request_id}
    if receipt.status is ReceiptStatus.UNKNOWN:
        body["detail"] = "no request with this id is known; nothing was written"
    else:
        body["event_id"] = receipt.event_id
    if receipt.version is not None:
        body["version"] = str(receipt.version)
    return Reply(STATUS[receipt.status], orjson.dumps(body))


def fits(value: Any) -> bool:
    """Return whether a body is a vote, and not another system's feedback."""
    return isinstance(value, dict) and "message_id" in value


DIALECT = Dialect(
    "gptboost",
    (
        SingleRoute(
            method="POST",
            path="/v1/feedback/",
            read=read,
            answer=answer,
            repeats=repeats,
            fits=fits,
            looks_for="an object with `message_id`",
        ),
    ),
)
