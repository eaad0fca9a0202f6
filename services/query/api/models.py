"""The models that `/openapi.json` publishes.  Routes return plain dicts; contract tests compare both.

A route names its model in its decorator: `**openapi.described(Model, *parameters, also=…)`.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import RequestId
from services.query.core.problems import ProblemCode
from services.query.reads.core.filters import SENTIMENTS, WORDS
from services.query.reads.core.history import EventOutcome

Time = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-22T08:00:00.123456Z"])
]
Version = Annotated[
    str,
    Field(
        pattern="^[0-9]{1,20}$",
        description="The newest event of the row: a 64-bit number, as text.",
        examples=["4711"],
    ),
]
Cursor = Annotated[
    str | None,
    Field(description="The value of `cursor` for the next page; null on the last one."),
]


# Published under these names, which are shorter than those of the enums in code.
Code = StrEnum("Code", {code.name: code.value for code in ProblemCode})  # type: ignore[misc]
Code.__doc__ = ProblemCode.__doc__
Outcome = StrEnum("Outcome", {outcome.name: outcome.value for outcome in EventOutcome})  # type: ignore[misc]
Outcome.__doc__ = EventOutcome.__doc__


class Fault(BaseModel):
    """An invalid parameter."""

    parameter: str = Field(description="The parameter; empty if the fault is not about one.")
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:afterword:problem:invalid_query",
                    "title": "Invalid query",
                    "status": 422,
                    "code": "invalid_query",
                    "detail": "ratng_min: there is no such parameter; did you mean rating_min?",
                    "errors": [
                        {
                            "parameter": "ratng_min",
                            "detail": "there is no such parameter; did you mean rating_min?",
                        }
                    ],
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    code: Code
    detail: str
    errors: list[Fault] = Field(default=[], description="Every invalid parameter.")


class Row(BaseModel):
    """The latest state of one request."""

    request_id: str
    version: Version
    first_received_at: Time
    last_received_at: Time
    sources: list[str] = Field(description="The dialects of the events, sorted by name.")
    rating: float | None = Field(description="`data.rating` as a number; words have one, too.")
    vote: Literal[(*WORDS, "")] = Field(description="The word of `data.rating`, or empty.")  # type: ignore[valid-type]
    sentiment: Literal[(*SENTIMENTS[:-1], "")] = Field(  # type: ignore[valid-type]
        description="From a rating of 1 to 5; empty for any other."
    )
    comment: str
    helpful: bool | None
    user_id: str
    tags: list[str]
    model: str
    provider: str
    latency_ms: float | None
    cost_usd: float | None
    started_at: Time | None
    data: dict[str, Any] = Field(description="The feedback: the latest value of each key.")
    request: dict[str, Any] = Field(description="Request data: the latest value of each key.")
    stored_at: Time


class Page(BaseModel):
    """Rows in order, and the cursor of the next page."""

    items: list[Row]
    next_cursor: Cursor


class Probe(BaseModel):
    """The answer of a probe: a reason for each failing check, and warnings."""

    status: Literal["ok", "failing"]
    failing: dict[str, str]
    warnings: dict[str, str] = Field(default_factory=dict)


class Rater(BaseModel):
    """The latest value that one rater gave a key of `data`."""

    key: str
    rater: str = Field(description="`data.user_id` of the event that gave it; empty if it has none.")
    value: Any
    version: Version
    received_at: Time
    at: Time | None = Field(description="When it was given, by the client's clock, if it was sent.")


class Agreement(BaseModel):
    """How far the raters of a key agree."""

    key: str
    raters: int = Field(description="How many raters have a value; those without a user id count as one.")
    mean: float | None = Field(
        description="Of the numbers, true as 1 and false as 0; null if there are none."
    )
    min: float | None
    max: float | None
    disagreement: float = Field(
        description="The share of the raters that do not give the most frequent value: 0 if all agree."
    )
    latest: Any = Field(description="The value that was given last.")


class Waited(Row):
    """A row with its raters; the last members are present with `min_version`."""

    raters: list[Rater] = Field(
        description="The latest value of each rater and key, newest first; at most 1,000."
    )
    agreement: list[Agreement] = Field(description="How far the raters agree, by key.")
    reached: bool | None = Field(
        default=None, description="The row contains everything up to the event, whatever its outcome."
    )
    outcome: Outcome | None = Field(default=None, description="The outcome of the event.")
    outcome_reason: str | None = Field(default=None, description="The reason as a code, if there is one.")
    outcome_detail: str | None = Field(default=None, description="The reason in words.")


class Changed(BaseModel):
    """Keys by how an event changed them."""

    set: list[str]
    replaced: list[str]
    cleared: list[str]
    kept: list[str] = Field(description="Repeated with the same value.")


class Changes(BaseModel):
    """What an event changed."""

    data: Changed
    request: Changed


class Event(BaseModel):
    """One event of a request, its outcome, and what it changed."""

    version: Version
    event_id: str
    op: Literal["merge", "retract", "erase"]
    source: str = Field(description="Its dialect.")
    user_id: str
    received_at: Time
    appended_at: Time
    item_id: str = Field(description="The id that the client's system gave it, or empty.")
    at: Time | None = Field(description="When it was given, by the client's clock, if it was sent.")
    idempotent: bool = Field(description="Whether it had an Idempotency-Key.")
    replayed: bool = Field(description="Whether it was a dead letter that was replayed.")
    data: dict[str, Any]
    request: dict[str, Any]
    changes: Changes
    outcome: Outcome
    outcome_reason: str | None
    outcome_detail: str | None


class History(BaseModel):
    """The events of a request, by version."""

    request_id: str
    items: list[Event]
    next_cursor: Cursor


class DeadLetter(BaseModel):
    """A record that could not be processed."""

    id: str = Field(description="Its topic, partition and offset.")
    request_id: str
    state: Literal["open", "replayed", "dropped"]
    stage: str
    reason: str
    detail: str
    meaning: str
    advice: str
    original_topic: str
    original_partition: int
    original_offset: int
    original_version: Version | None
    failed_at: Time
    replayed_at: Time | None
    dropped_at: Time | None
    erased: bool = Field(description="Whether its request was erased since: then its bytes are hidden.")
    raw_bytes: int | None = Field(description="Size of the record's value; null for a null value.")
    raw: str | None = Field(description="Its value, or the beginning of it.")
    raw_encoding: Literal["utf-8", "base64"] | None
    raw_truncated: bool


class DeadLetters(BaseModel):
    """Dead letters, newest first."""

    items: list[DeadLetter]
    next_cursor: Cursor


class ErasureListed(BaseModel):
    """An erasure and its state."""

    id: str = Field(json_schema_extra={"format": "uuid"})
    state: Literal["asked", "published", "merged", "deleted", "verified"]
    asked_at: Time
    asked_by: Literal["api", "command"]
    updated_at: Time
    user_hash: str | None = Field(description="A hash in place of the user id, which is not kept.")
    requests: int = Field(description="How many requests it erases, as far as known.")
    found: dict[str, int] = Field(description="How many rows of each table it found.")
    problem: str | None = Field(description="What blocks it, and what to do.")


class Kept(BaseModel):
    """A place that keeps older bytes for a time."""

    place: str
    until: Time | None = Field(description="The latest time; null if it is unknown.")
    why: str


class Certificate(BaseModel):
    """What was erased, the check afterwards, and what is kept where and until when."""

    erasure: str
    tenant: str
    asked_at: Time
    user_hash: str | None
    request_ids: list[str]
    erased_at: Time | None = Field(
        description="When the last erase event was logged; null: nothing was found."
    )
    found: dict[str, int]
    checked_at: Time
    left: dict[str, int] = Field(description="Rows left in each table at that time: always 0.")
    later_requests: int = Field(description="Requests of the user in feedback that arrived later.")
    kept: list[Kept]
    not_reached: list[str]


class Erasure(ErasureListed):
    """An erasure with all members."""

    request_ids: list[str]
    certificate: Certificate | None


class Erasures(BaseModel):
    """Erasures of a tenant, newest first."""

    items: list[ErasureListed]


class ErasureAsked(BaseModel):
    """What to erase: exactly one of these."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1, "maxProperties": 1})

    request_id: RequestId = Field(default="", examples=["chatcmpl-1"])
    request_ids: list[RequestId] = Field(default_factory=list, min_length=1, max_length=1_000)
    user_id: str = Field(default="", min_length=1, examples=["u-17"])


class Stage(BaseModel):
    """A stage of the pipeline."""

    name: str
    group: str
    lag: int = Field(description="Records that it has not processed yet.")
    consumers: int | None = Field(description="Running consumers; null if unknown.")


class Partition(BaseModel):
    """The offset of the next record of each stage in one partition."""

    partition: int
    logged: int
    merged: int
    states: int
    stored_states: int
    stored_events: int
    queryable_below_version: Version | None = Field(
        description="Every event below this version can be queried; null while unknown."
    )


class Watermark(BaseModel):
    """Up to which point everything can be queried."""

    queryable_before: Time | None = Field(
        description="Everything acknowledged before this time can be queried; null while unknown."
    )
    behind_seconds: float | None
    asked_at: Time
    reached: bool = Field(description="Whether everything acknowledged before this request can be queried.")
    generation: int
    stages: list[Stage]
    partitions: list[Partition]
