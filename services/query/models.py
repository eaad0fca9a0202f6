"""The models that `/openapi.json` shows.  They are not what runs; a test holds both together.

A route is described by `documentation.described(Model, *parameters, also=…)` in its decorator.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.query.filters import SENTIMENTS, WORDS
from services.query.problems import Code

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
    """What a probe says: `failing` has a reason for each check that fails."""

    status: Literal["ok", "failing"]
    failing: dict[str, str]
