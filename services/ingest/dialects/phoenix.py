"""Phoenix: `POST /v1/span_annotations`, whose annotations are all valid or all rejected.

An annotation has the id that Phoenix would keep for it: one for each span, name and identifier.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

import orjson

from services.ingest.core.errors import BodyFault, invalid
from services.ingest.core.validation import decoded, json_type
from services.ingest.dialects.dialect import (
    Dialect,
    DialectCall,
    Item,
    ItemOutcome,
    ItemsRoute,
    Reply,
    RouteDoc,
    Submission,
    checked_id,
    member,
    receipts,
    required,
    score_key,
    submission,
)

RATERS = ("user_id", "user")
"""Keys of an annotation's metadata that name who gave it; the first one counts."""

KINDS = ("HUMAN", "LLM", "CODE")


def read(value: Any, path: str = "") -> Submission:
    """Return the submission of an annotation; raise Rejection.  `path` is that of the annotation."""
    span, name = required(value, "span_id", str, path), required(value, "name", str, path)
    identifier = member(value, "identifier", str, path) or ""
    kind = required(value, "annotator_kind", str, path)
    if kind not in KINDS:
        raise invalid(BodyFault(f"{path}.annotator_kind", f"must be one of {', '.join(KINDS)}"))
    is_human = kind == "HUMAN"
    data = _result(name, value, path, comment="comment" if is_human else f"{name}_explanation")
    metadata = dict(member(value, "metadata", dict, path) or {})
    raters = [metadata.pop(key, None) for key in RATERS] + [identifier if is_human else None]
    if metadata:
        data[f"{name}_metadata"] = metadata
    if any(raters):
        data["user_id"] = next(filter(None, raters))
    item_id = annotation_id(span, name, identifier)
    return submission(checked_id(span, f"{path}.span_id"), data, item_id=item_id)


def _result(name: str, value: Any, path: str, *, comment: str) -> dict[str, Any]:
    """Return what a result sets: its score, or its label if it has none, is the value of its name."""
    result = member(value, "result", dict, path) or {}
    path = f"{path}.result"
    score, label = result.get("score"), member(result, "label", str, path)
    if not isinstance(score, int | float | None):
        raise invalid(BodyFault(f"{path}.score", f"must be a number, not {json_type(score)}"))
    explanation = member(result, "explanation", str, path)
    data: dict[str, Any] = {}
    if score is None and label is None and explanation is None:
        raise invalid(BodyFault(path, "needs a score, a label or an explanation"))
    if score is not None or label is not None:
        data[score_key(name)] = label if score is None else score
    if score is not None and label is not None:
        data[f"{name}_label"] = label
    if explanation is not None:
        data[comment] = explanation
    return data


def annotation_id(span: str, name: str, identifier: str) -> str:
    """Return the id of an annotation, which replaces an earlier one of the same three."""
    digest = sha256(f"{span}\0{name}\0{identifier}".encode(errors="replace")).hexdigest()
    return b64encode(f"SpanAnnotation:{digest[:32]}".encode()).decode()


def read_items(call: DialectCall) -> list[Item]:
    """Return the annotations of a body; raise Rejection if any is invalid."""
    entries = required(decoded(call.body), "data", list)
    found = (read(entry, f"data[{index}]") for index, entry in enumerate(entries))
    return [Item(content.item_id, content) for content in found]


def answer_items(call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the answer, which has the ids of the annotations if the client waits for them."""
    receipts(outcomes)
    is_sync = parse_qs(call.query).get("sync", ["false"])[-1].lower() in ("true", "1")
    shown = [{"id": outcome.id} for outcome in outcomes] if is_sync else []
    return Reply(200, orjson.dumps({"data": shown}))


DIALECT = Dialect(
    "phoenix",
    (
        ItemsRoute(
            method="POST",
            path="/v1/span_annotations",
            read_items=read_items,
            answer_items=answer_items,
            doc=RouteDoc(
                "Annotate spans",
                {
                    "data": [
                        {
                            "span_id": "67f6740bbe1ddc3f",
                            "name": "user feedback",
                            "annotator_kind": "HUMAN",
                            "result": {"label": "thumbs-up", "score": 1, "explanation": "Great"},
                            "metadata": {"user_id": "u1"},
                        }
                    ]
                },
                {"data": []},
            ),
        ),
    ),
    territory=("/v1/trace_annotations", "/v1/session_annotations", "/v1/document_annotations", "/v1/spans"),
)
