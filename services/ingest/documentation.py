"""The models of `/openapi.json`.  Requests are not validated with them; tests compare both."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from schemas.events import ItemId, RequestId
from schemas.instants import FORMS, instant_of
from schemas.limits import MAX_DEPTH, MAX_KEY_LENGTH, MAX_KEYS
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.validation import Faults


def _within_limits(value: dict[str, Any]) -> dict[str, Any]:
    faults = Faults()
    faults.fields("", value)
    try:
        faults.raise_if_any()
    except Rejection as rejection:
        raise ValueError(rejection.detail) from None
    return value


Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH)]
Fields = Annotated[
    dict[Key, JsonValue],
    Field(max_length=MAX_KEYS),
    AfterValidator(_within_limits),
]
Version = Annotated[
    str,
    Field(
        description="The event's position in the order of its request's events: a 64-bit number, as text. "
        "Absent if Kafka did not return the event's offset.",
        examples=["4711"],
    ),
]
EventId = Annotated[
    str, Field(json_schema_extra={"format": "uuid"}, examples=["0199e1c2-4a60-7001-8000-5f3a9c0d1e2f"])
]


def _time(value: str | float) -> str | float:
    if instant_of(value) is None:
        raise ValueError(f"is not a time; it takes {FORMS}")
    return value


FEEDBACK: Any = {"rating": 5, "message": "The response was very accurate and helpful.", "tags": ["a", "b"]}


class FeedbackBody(BaseModel):
    """Feedback in Requesty's dialect.  Fields other than `data` are ignored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": FEEDBACK}]})

    data: Fields = Field(
        description=f"Free-form keys, nested at most {MAX_DEPTH} deep. "
        "A key replaces the same key of earlier feedback; null clears it; other keys are kept."
    )


class Vote(BaseModel):
    """A vote in GPTBoost's dialect.  Other fields are stored unchanged."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"message_id": "chatcmpl-1", "rating": "positive", "tags": ["movies"], "comment": "Awesome"}
            ]
        },
    )

    message_id: RequestId = Field(description="The id of the completion.")
    rating: Literal["positive", "negative", "amazing"]
    comment: str | None = Field(default=None, description="Empty means absent.")
    tags: list[str] | None = Field(default=None, description="Empty means absent.")


class Event(BaseModel):
    """One event of the native dialect.  A merge needs `data`, `request` or both; the others carry neither."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"request_id": "chatcmpl-1", "data": {"rating": 5}, "request": {"model": "gpt-x"}}]
        },
    )

    request_id: RequestId = Field(description="The id of the request that the feedback is about.")
    data: Fields | None = Field(default=None, description="The feedback's free-form keys.")
    request: Fields | None = Field(default=None, description="Facts of the request itself, any keys.")
    op: Literal["merge", "retract", "erase"] = Field(
        default="merge",
        description="`retract` clears all earlier feedback; `erase` removes the row permanently, and needs "
        "a key with the scope `admin`.",
    )
    item_id: ItemId | None = Field(
        default=None, description="The id that your system gives this item.", examples=["score-1"]
    )
    at: Annotated[str | int | float, AfterValidator(_time)] | None = Field(
        default=None,
        description=f"When it was given: {FORMS}. Stored with the event; it orders nothing.",
        examples=["2026-01-31T12:00:00Z"],
    )


class Facts(BaseModel):
    """Facts of a request, any keys."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"model": "gpt-x", "latency_ms": 812.5}]}
    )


class Unread(BaseModel):
    """A fact that is stored, but whose typed column cannot hold it."""

    key: str = Field(examples=["request.started_at"])
    detail: str


Warnings = Annotated[
    list[Unread],
    Field(
        description="Facts whose column stays empty, and what the column accepts. Absent if there are none."
    ),
]


class Accepted(BaseModel):
    """Kafka has stored the event."""

    status: Literal["accepted"]
    request_id: str
    event_id: EventId
    version: Version | None = None
    warnings: Warnings | None = None


class VoteAccepted(BaseModel):
    """Kafka has stored the vote."""

    status: Literal["accepted"]
    message_id: str
    event_id: EventId
    version: Version | None = None


class VoteRepeated(BaseModel):
    """Kafka has stored the vote, and a row with the same rating, comment and tags existed before."""

    status: Literal["already_reported"]
    message_id: str
    event_id: EventId
    version: Version | None = None


class VoteUnknown(BaseModel):
    """Nothing was written: this deployment, or this key, accepts feedback on known requests only."""

    status: Literal["not_found"]
    message_id: str
    detail: str


class FaultShown(BaseModel):
    """An invalid value in the body."""

    path: str = Field(description="Path of the value, such as `data.tags[3]`. Empty for the whole body.")
    detail: str


class ItemError(BaseModel):
    """Why an event of a batch was rejected."""

    code: Code
    detail: str
    errors: list[FaultShown] | None = None


class ItemAccepted(BaseModel):
    """An event of a batch that Kafka has stored."""

    index: int = Field(description="Its index in the array, or its line, from 0.")
    status: Literal["accepted"]
    request_id: str
    event_id: EventId
    version: Version | None = None
    warnings: Warnings | None = None


class ItemRejected(BaseModel):
    """A rejected event of a batch."""

    index: int
    status: Literal["rejected"]
    error: ItemError


class BatchResult(BaseModel):
    """The outcome of each event of a batch."""

    accepted: int
    rejected: int
    items: list[ItemAccepted | ItemRejected]


class Problem(BaseModel):
    """An error as defined by RFC 9457, with a stable code."""

    type: str
    title: str
    status: int
    code: Code
    detail: str
    errors: list[FaultShown] | None = None


class Probe(BaseModel):
    """The failing checks by name; `warnings` do not fail a probe."""

    status: Literal["ok", "failing"]
    failing: dict[str, str]
    warnings: dict[str, str] = Field(default_factory=dict)
