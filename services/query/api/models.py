"""The models that `/openapi.json` shows.  They are not what runs; a test holds both together.

A route is described by `documentation.described(Model, *parameters, also=…)` in its decorator.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import RequestId
from services.query.core.problems import Code
from services.query.reads.core.filters import SENTIMENTS, WORDS
from services.query.reads.core.outcomes import Outcome

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
    Field(description="What `cursor` takes to go on after this page; null after the last one."),
]


class Fault(BaseModel):
    """One thing wrong with a question."""

    parameter: str = Field(description="The parameter; empty if it is no single one.")
    detail: str


class Problem(BaseModel):
    """Why a question was not answered (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:afterword:problem:invalid_query",
                    "title": "The question is not valid",
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
    errors: list[Fault] = Field(default=[], description="Everything that is wrong with the question.")


class Row(BaseModel):
    """The latest state of one request."""

    request_id: str
    version: Version
    first_received_at: Time
    last_received_at: Time
    sources: list[str] = Field(description="The dialects that contributed, sorted by name.")
    rating: float | None = Field(description="`data.rating` as a number; a word counts as one.")
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
    request: dict[str, Any] = Field(description="Facts of the request: the latest value of each key.")
    stored_at: Time


class Page(BaseModel):
    """Rows in order, and how to go on."""

    items: list[Row]
    next_cursor: Cursor


class Probe(BaseModel):
    """What a probe says: `failing` has a reason for each check that fails, `warnings` for what fails none."""

    status: Literal["ok", "failing"]
    failing: dict[str, str]
    warnings: dict[str, str] = Field(default_factory=dict)


class Waited(Row):
    """A row; the last members are there if `min_version` was asked for."""

    reached: bool | None = Field(
        default=None, description="The row has everything up to the event, whatever became of that."
    )
    outcome: Outcome | None = Field(default=None, description="What became of the event.")
    outcome_reason: str | None = Field(default=None, description="Why, as a code, where there is a reason.")
    outcome_detail: str | None = Field(default=None, description="The same in words.")


class Changed(BaseModel):
    """Keys, by what an event did to them."""

    set: list[str]
    replaced: list[str]
    cleared: list[str]
    kept: list[str] = Field(description="Said again as they were.")


class Changes(BaseModel):
    """What an event changed."""

    data: Changed
    request: Changed


class Event(BaseModel):
    """One event of a request, what it changed, and what became of it."""

    version: Version
    event_id: str
    op: Literal["merge", "retract", "erase"]
    source: str = Field(description="The dialect it came through.")
    user_id: str
    received_at: Time
    appended_at: Time
    idempotent: bool = Field(description="It came with an Idempotency-Key.")
    replayed: bool = Field(description="It was a dead letter, and was put back into its place.")
    data: dict[str, Any]
    request: dict[str, Any]
    changes: Changes
    outcome: Outcome
    outcome_reason: str | None
    outcome_detail: str | None


class History(BaseModel):
    """The events of a request, in the order that decides."""

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
    erased: bool = Field(description="Its request was erased since: its bytes are not shown.")
    raw_bytes: int | None = Field(description="How long the record's value is; null for a null value.")
    raw: str | None = Field(description="Its value, or the beginning of it.")
    raw_encoding: Literal["utf-8", "base64"] | None
    raw_truncated: bool


class DeadLetters(BaseModel):
    """Dead letters, newest first."""

    items: list[DeadLetter]
    next_cursor: Cursor


class ErasureListed(BaseModel):
    """An erasure, and how far it is."""

    id: str = Field(json_schema_extra={"format": "uuid"})
    state: Literal["asked", "published", "merged", "deleted", "verified"]
    asked_at: Time
    asked_by: Literal["api", "command"]
    updated_at: Time
    user_hash: str | None = Field(description="What stands for the user, of whom no id is kept.")
    requests: int = Field(description="How many requests it erases, as far as they are known.")
    found: dict[str, int] = Field(description="How many rows of each table it found.")
    problem: str | None = Field(description="What keeps it from getting on, and what to do.")


class Kept(BaseModel):
    """A place that keeps older bytes for a while."""

    place: str
    until: Time | None = Field(description="At the latest; null where nobody can tell.")
    why: str


class Certificate(BaseModel):
    """What was erased, what was asked again afterwards, and what is kept where until when."""

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
    left: dict[str, int] = Field(description="What every table still had at that time: 0 everywhere.")
    later_requests: int = Field(description="Requests that name the user since, by feedback that came later.")
    kept: list[Kept]
    not_reached: list[str]


class Erasure(ErasureListed):
    """An erasure whole."""

    request_ids: list[str]
    certificate: Certificate | None


class Erasures(BaseModel):
    """Erasures of a tenant, the newest first."""

    items: list[ErasureListed]


class ErasureAsked(BaseModel):
    """Whose feedback is to be erased: exactly one of these."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1, "maxProperties": 1})

    request_id: RequestId = Field(default="", examples=["chatcmpl-1"])
    request_ids: list[RequestId] = Field(default_factory=list, min_length=1, max_length=1_000)
    user_id: str = Field(default="", min_length=1, examples=["u-17"])


class Stage(BaseModel):
    """A part that reads the log."""

    name: str
    group: str
    lag: int = Field(description="Records before it.")
    consumers: int | None = Field(description="How many of it run; null where that was not asked.")


class Partition(BaseModel):
    """How far each stage is in one partition: the offset of the next record."""

    partition: int
    logged: int
    merged: int
    states: int
    stored_states: int
    stored_events: int
    queryable_below_version: Version | None = Field(
        description="Every event below this version can be queried; null while that is not known yet."
    )


class Watermark(BaseModel):
    """Up to which point of the log everything can be queried."""

    queryable_before: Time | None = Field(
        description="Everything acknowledged before this moment; null while that is not known yet."
    )
    behind_seconds: float | None
    asked_at: Time
    reached: bool = Field(description="Everything acknowledged before this was asked can be queried.")
    generation: int
    stages: list[Stage]
    partitions: list[Partition]
