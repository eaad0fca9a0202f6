"""GPTBoost: a vote with `message_id` and `rating`, answered 200, 208 or 404.  Pure.

An empty comment and empty tags mean absent.  Other fields are kept as they came.
"""

from typing import Any

import orjson

from services.ingest.core.validation import REFUSED, Faults, decode_gptboost, kind_of, parse
from services.ingest.dialects.dialect import Dialect, Receipt, Reply, Route, Standing, Submission, checked_id

RATINGS = ("positive", "negative", "amazing")
OPTIONAL = ("comment", "tags")
STATUS = {Standing.ACCEPTED: 200, Standing.REPEATED: 208, Standing.UNKNOWN: 404}


def read(_request_id: str, body: bytes) -> Submission:
    """Return what a vote says."""
    try:
        vote = decode_gptboost(body)
    except REFUSED:
        return _judged(parse(body))
    data: dict[str, Any] = {"rating": vote.rating}
    if vote.comment:
        data["comment"] = vote.comment
    if vote.tags:
        data["tags"] = vote.tags
    return Submission(checked_id(vote.message_id, "message_id"), data)


def _judged(value: Any) -> Submission:
    faults = Faults()
    if not isinstance(value, dict):
        faults.add("", f"must be an object with message_id and rating, not {kind_of(value)}")
        faults.verdict()
    _judge_id(faults, value)
    if value.get("rating") not in RATINGS:
        faults.add("rating", f"must be one of {', '.join(RATINGS)}")
    comment, tags = value.get("comment"), value.get("tags")
    if not isinstance(comment, str | None):
        faults.add("comment", f"must be a string, not {kind_of(comment)}")
    _judge_tags(faults, tags)
    data = {name: item for name, item in value.items() if _says_something(name, item)}
    faults.fields("", data)
    faults.verdict()
    return Submission(checked_id(value["message_id"], "message_id"), data)


def _judge_id(faults: Faults, value: dict[str, Any]) -> None:
    message_id = value.get("message_id")
    if not isinstance(message_id, str):
        faults.add(
            "message_id", "is missing: the id of the completion" if message_id is None else "must be a string"
        )
    else:
        faults.text("message_id", message_id)


def _judge_tags(faults: Faults, tags: Any) -> None:
    if not isinstance(tags, list | None):
        faults.add("tags", f"must be a list of strings, not {kind_of(tags)}")
    for index, tag in enumerate(tags if isinstance(tags, list) else ()):
        if not isinstance(tag, str) and not faults.full:
            faults.add(f"tags[{index}]", f"must be a string, not {kind_of(tag)}")


def _says_something(name: str, value: Any) -> bool:
    return name != "message_id" and (name not in OPTIONAL or bool(value))


def repeats(stored: dict[str, Any], said: dict[str, Any]) -> bool:
    """Tell whether a vote says what is stored: rating, comment and tags alike, and nothing new beside."""
    return all(
        (stored.get(name) or None) == (said.get(name) or None) for name in ("rating", *OPTIONAL)
    ) and all(name in stored and stored[name] == value for name, value in said.items())


def answer(receipt: Receipt) -> Reply:
    """Return one of the three answers, each with a JSON body."""
    body: dict[str, Any] = {"status": receipt.standing, "message_id": receipt.request_id}
    if receipt.standing is Standing.UNKNOWN:
        body["detail"] = "no request with this id is known; nothing was written"
    else:
        body["event_id"] = receipt.event_id
    if receipt.version is not None:
        body["version"] = str(receipt.version)
    return Reply(STATUS[receipt.standing], orjson.dumps(body))


DIALECT = Dialect(
    "gptboost",
    (Route(method="POST", path="/v1/feedback/", read=read, answer=answer, repeats=repeats),),
)
