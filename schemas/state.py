"""The latest state of one request, `feedback-state.v1`: what the merger writes to the state topic.

The value is already the row that ClickHouse stores, so the sink passes its bytes through unread.
The merger keeps what the merge needs in further fields of the same object; the table skips them.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from schemas.events import RequestId, Tenant
from schemas.limits import MAX_SOURCES

Version = Annotated[int, Field(ge=0, lt=2**64)]


class FeedbackState(BaseModel):
    """The public part of a row: what everybody behind the merger may rely on."""

    model_config = ConfigDict(frozen=True, extra="allow", title="feedback-state.v1")

    tenant: Tenant = Field(description="Whose row it is.")
    request_id: RequestId = Field(description="The request that the feedback is about.")
    version: Version = Field(
        description="The newest event consumed for this row: generation of the events topic << 48 | offset."
    )
    first_received_at: AwareDatetime = Field(description="When ingest took the earliest event of the row.")
    last_received_at: AwareDatetime = Field(description="When ingest took the latest event of the row.")
    sources: list[str] = Field(
        max_length=MAX_SOURCES, description="The dialects that contributed, sorted by name."
    )
    data: dict[str, JsonValue] = Field(description="The feedback: the latest value of each top-level key.")
    request: dict[str, JsonValue] = Field(description="Facts of the request: the latest value of each key.")


class ErasedState(BaseModel):
    """An erased row: its key, and up to which version events are ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="feedback-state-erased.v1")

    tenant: Tenant = Field(description="Whose row it was.")
    request_id: RequestId = Field(description="The request that the feedback was about.")
    erased: Version = Field(description="Events at or below this version are ignored.")
    is_deleted: Literal[1] = Field(description="Hides the row in ClickHouse.")
