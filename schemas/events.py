"""The feedback event, `feedback-event.v1`: what ingest writes to the events topic.

The models are the source of the committed JSON Schemas.  Hot paths decode with msgspec against
the same shapes; contract tests hold both together.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from schemas.identity import REQUEST_ID_PATTERN, TENANT_PATTERN, is_request_id
from schemas.instants import instant
from schemas.limits import MAX_KEY_LENGTH, MAX_KEYS, MAX_REQUEST_ID_LENGTH

Tenant = Annotated[str, Field(pattern=TENANT_PATTERN, examples=["default"])]
RequestId = Annotated[
    str,
    Field(
        min_length=1, max_length=MAX_REQUEST_ID_LENGTH, pattern=REQUEST_ID_PATTERN, examples=["chatcmpl-1"]
    ),
]
Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH)]
Fields = Annotated[dict[Key, JsonValue], Field(max_length=MAX_KEYS)]


def item_id_of(value: Any) -> str | None:
    """Return the item id of an event, None if the value is not one.

    No value of `item_id` or `at` makes an event poison: neither decides anything about the row, so an
    unusable one of a foreign producer is worth less than the feedback beside it.
    """
    return value if isinstance(value, str) and is_request_id(value) else None


def at_of(value: Any) -> datetime | None:
    """Return the time in an event's `at`, from 1970 to 2099; None if the value is not one."""
    return instant(value) if isinstance(value, str) else None


ItemId = Annotated[str, Field(min_length=1, max_length=MAX_REQUEST_ID_LENGTH, pattern=REQUEST_ID_PATTERN)]


class Op(StrEnum):
    """What an event does to the row of its request."""

    MERGE = "merge"
    """Replace the named top-level keys; null clears one."""
    RETRACT = "retract"
    """Clear every key of `data` known so far."""
    ERASE = "erase"
    """Remove everything up to this event's version, for good."""


class FeedbackEvent(BaseModel):
    """One thing that somebody said about an answer, or one fact about the request itself."""

    model_config = ConfigDict(frozen=True, extra="ignore", title="feedback-event.v1")

    event_id: UUID = Field(
        description="UUIDv7; with an Idempotency-Key a UUIDv8 made from tenant, request id, key and index."
    )
    tenant: Tenant = Field(description="Whose event it is.")
    request_id: RequestId = Field(description="The id of the request that the feedback is about; opaque.")
    received_at: AwareDatetime = Field(
        description="When ingest took it, RFC 3339 UTC with microseconds. For people, never for ordering."
    )
    source: str = Field(
        min_length=1,
        max_length=64,
        description="The dialect it came through.",
        examples=["requesty", "gptboost", "native"],
    )
    op: Op = Field(description="merge, retract or erase.")
    data: Fields | None = Field(default=None, description="The feedback's free-form keys; only with merge.")
    request: Fields | None = Field(
        default=None,
        description="Facts of the request itself, any keys, with the same merge rule; only with merge.",
    )
    idempotent: Literal[True] | None = Field(
        default=None, description="The event id came from an Idempotency-Key."
    )

    item_id: Annotated[ItemId | None, BeforeValidator(item_id_of)] = Field(
        default=None,
        description="The id that the client's system gives this item, such as a score's. Unusable: ignored.",
        examples=["score-1"],
    )
    at: Annotated[AwareDatetime | None, BeforeValidator(at_of)] = Field(
        default=None,
        description="When the feedback was given, by the client's clock: RFC 3339 UTC with up to"
        " microseconds, from 1970 to 2099. Never for ordering; unusable: ignored.",
    )

    @model_validator(mode="after")
    def _only_a_merge_carries_fields(self) -> "FeedbackEvent":
        if self.op is not Op.MERGE and (self.data is not None or self.request is not None):
            raise ValueError(f"{self.op} carries neither data nor request")
        return self
