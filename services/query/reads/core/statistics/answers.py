"""Statistics as they are answered.  Pure."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, from_attributes=True)


class Interval(_Answer):
    """A share or an average, and the interval that holds the true one 95 times of 100."""

    value: float
    low: float | None = Field(description="The interval's lower end; null where one value alone is known.")
    high: float | None = Field(description="Its upper end.")
    n: Count = Field(description="How many requests it rests on.")


class Figures(_Answer):
    """What is known of some requests.  `share` and `average` are null where they rest on nothing."""

    requests: Count = Field(description="Requests.")
    with_feedback: Count = Field(description="Requests with any feedback.")
    rated: Count = Field(description="Requests with a rating that is a number.")
    positive: Count = Field(description="Requests with a positive sentiment.")
    neutral: Count = Field(description="Requests with a neutral one.")
    negative: Count = Field(description="Requests with a negative one.")
    share: Interval | None = Field(
        description="Positive requests of those with a sentiment, from 0 to 1, with Wilson's interval."
    )
    average: Interval | None = Field(description="The average of the measure, with Student's interval.")
    not_numbers: Count | None = Field(
        description="Requests whose value of the measure is not a number, and does not count in `average`; "
        "null for a measure that the table has a column for, which leaves such values out."
    )


class Compared(Figures):
    """Figures of the period, those of the previous one beside them."""

    previous: Figures | None = Field(description="The same in the previous period; null if there is none.")


class _Keyed(_Answer):
    key: dict[str, str | None] = Field(
        description="What they have in common, by the names of `by`; null for what they do not have. "
        "An hour by its beginning in UTC, a day by its date, a week and a month by that of their first day."
    )


class Group(Compared, _Keyed):
    """Requests that have something in common."""


class Span(_Answer):
    """A stretch of time."""

    start: datetime = Field(alias="from", description="Its beginning.")
    end: datetime = Field(alias="to", description="Its end, which is not part of it.")


class Stats(_Answer):
    """Statistics of a period, those of the previous one beside them."""

    period: Span
    previous_period: Span | None = Field(description="As long, and before; null if that is before 1970.")
    time: str = Field(description="The time of a request that both periods, and days, go by.")
    time_zone: str = Field(description="Where days, weeks and months begin.")
    by: list[str]
    measure: str
    confidence: float = Field(description="How often an interval holds the true value.")
    total: Compared = Field(description="All requests of the period, each counted once.")
    groups: list[Group] = Field(description="By time, then in the order asked for. Empty ones are left out.")
    rest: list[Group] = Field(
        description="What `limit` left out, added up; by time if that was asked for. "
        "Where a request belongs to several of these groups (tags), it counts once in each."
    )
    groups_left_out: Count = Field(description="How many names `rest` adds up.")
    undated: Count = Field(
        description="Requests that the filters let through, but whose time is not known: "
        "in no period, and not counted anywhere else."
    )
