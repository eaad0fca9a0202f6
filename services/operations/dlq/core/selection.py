"""Which dead letters a call is about, and which SQL says the same.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from services.operations.core.times import ago
from services.operations.dlq.core.letters import Id, Letter, State
from services.runtime.clickhouse.core.statement import SqlParameters

moment = ago
"""The time that a text names, for whoever selects."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a dead letter must be; an empty tuple or None means any.

    Times are about `failed_at`: from `since` on, before `until`.  `upto` has the last dead letter of each
    partition that counts, so that what comes in while a call runs is left for the next one.
    """

    ids: tuple[Id, ...] = ()
    reasons: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    tenant: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: tuple[State, ...] = (State.OPEN,)
    upto: tuple[Id, ...] | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether anything but the state was asked for."""
        return replace(self, states=(), upto=None) != Selection(states=())

    def covers(self, letter: Letter) -> bool:
        """Tell whether a letter is selected: what the SQL must agree with."""
        return (
            (not self.ids or letter.id in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.stages or letter.stage in self.stages)
            and self.tenant in (None, letter.tenant)
            and self.request_id in (None, letter.request_id)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
            and (not self.states or letter.state in self.states)
            and (self.upto is None or any(_is_upto(letter.id, last) for last in self.upto))
        )


def _is_upto(one: Id, last: Id) -> bool:
    return one[:2] == last[:2] and one.offset <= last.offset


_STATES = {
    State.OPEN: "(replayed_at IS NULL AND dropped_at IS NULL)",
    State.REPLAYED: "(replayed_at IS NOT NULL)",
    State.DROPPED: "(replayed_at IS NULL AND dropped_at IS NOT NULL)",
}


def condition(selection: Selection, places: SqlParameters) -> str:
    """Return the condition that selects the same rows; its values are in `places`."""
    parts = [
        *_among("reason", selection.reasons, places),
        *_among("stage", selection.stages, places),
        *_equal("tenant", selection.tenant, places),
        *_equal("request_id", selection.request_id, places),
        *_when(">=", selection.since, places),
        *_when("<", selection.until, places),
    ]
    if selection.ids:
        parts.append(among_ids(selection.ids, places))
    if selection.states:
        parts.append("(" + " OR ".join(_STATES[state] for state in selection.states) + ")")
    if selection.upto is not None:
        parts.append(_upto(selection.upto, places))
    return " AND ".join(parts) or "true"


def among_ids(ids: Iterable[Id], places: SqlParameters) -> str:
    """Return the condition that a row is one of these dead letters."""
    offsets: dict[tuple[str, int], list[int]] = {}
    for one in ids:
        offsets.setdefault(one[:2], []).append(one.offset)
    parts = [
        f"(dlq_topic = {places.place(topic, 'String')}"
        f" AND dlq_partition = {places.place(partition, 'UInt32')}"
        f" AND dlq_offset IN {places.place(several, 'Array(UInt64)')})"
        for (topic, partition), several in offsets.items()
    ]
    return "(" + " OR ".join(parts or ["false"]) + ")"


def _among(column: str, values: tuple[str, ...], places: SqlParameters) -> list[str]:
    return [f"{column} IN {places.place(list(values), 'Array(String)')}"] if values else []


def _equal(column: str, value: str | None, places: SqlParameters) -> list[str]:
    return [] if value is None else [f"{column} = {places.place(value, 'String')}"]


def _when(comparison: str, moment: datetime | None, places: SqlParameters) -> list[str]:
    if moment is None:
        return []
    microseconds = places.place((moment - _EPOCH) // timedelta(microseconds=1), "Int64")
    return [f"toUnixTimestamp64Micro(failed_at) {comparison} {microseconds}"]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _upto(last: tuple[Id, ...], places: SqlParameters) -> str:
    parts = [
        f"(dlq_topic = {places.place(one.topic, 'String')}"
        f" AND dlq_partition = {places.place(one.partition, 'UInt32')}"
        f" AND dlq_offset <= {places.place(one.offset, 'UInt64')})"
        for one in last
    ]
    return "(" + " OR ".join(parts or ["false"]) + ")"
