"""What the new state topic should have of each request, from everything that is known of it."""

from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import NamedTuple

from schemas.identity import event_key
from schemas.tables import ERASED_REQUESTS, FEEDBACK_EVENTS, FEEDBACK_STATE
from services.merger.core.state import NEVER
from services.operations.audit.core.expected_state import ExpectedState, erased_state, folded_rows
from services.operations.audit.core.joined_state import StateRow, lifted
from services.operations.audit.core.row_to_event import EventRow
from services.operations.rebuild.core.compare import StateVerdict, is_like
from services.operations.rebuild.requests import PAGE_EVENTS, ComparedState, Key, Requests, between, key_of
from services.runtime.clickhouse.core.statement import Statement

OLDER = "feedback_state_records_older"
"""The scratch table of the old state topic's records."""


class _Older(NamedTuple):
    value: bytes
    timestamp: int


class RequestStates(Requests):
    """Every request that events, erasures, the old state topic or rows speak of, each with its whole state.

    All events in the table count, whatever became of the merger that should have merged them.
    """

    events = FEEDBACK_EVENTS

    async def judged(self) -> AsyncIterator[ComparedState]:
        """Yield each request, and whether the new topic has its state already."""
        async for page in self._pages():
            several = {key: list(rows) for key, rows in groupby(page, key=key_of)}
            for one in await self._all(several):
                yield one
        after = ("", "")
        while found := await self._database.rows(_without_events(after, PAGE_EVENTS)):
            keys = [(row["tenant"], row["request_id"]) for row in found]
            after = keys[-1]
            for one in await self._all({key: [] for key in keys}):
                yield one

    async def _all(self, several: dict[Key, list[EventRow]]) -> list[ComparedState]:
        first, last = next(iter(several)), next(reversed(several))
        found, erased = await self._found(first, last), await self._erased(first, last)
        older, rows = await self._older(first, last), await self._rows(first, last)
        return [
            self._heir(key, events, found.get(key), erased.get(key, NEVER), older.get(key), rows.get(key))
            for key, events in several.items()
        ]

    def _heir(
        self,
        key: Key,
        events: Sequence[EventRow],
        found: bytes | None,
        erased: int,
        older: _Older | None,
        row: tuple[StateRow, int] | None,
    ) -> ComparedState:
        own = folded_rows(events, self._context, erased) if events else None
        if own is None and erased != NEVER:
            own = ExpectedState(erased_state(*key, erased), 0)
        value = lifted(*key, [older and older.value, own and own.value], row and row[0], erased)
        name = event_key(*key)
        if value is None:
            return ComparedState(name, StateVerdict.SAME, None)
        stamps = (own and own.timestamp, older and older.timestamp, row and row[1])
        should = ExpectedState(value, max(stamp or 0 for stamp in stamps))
        if found is None:
            return ComparedState(name, StateVerdict.MISSING, should)
        return ComparedState(
            name, StateVerdict.SAME if is_like(found, value) else StateVerdict.DIFFERS, should
        )

    async def _older(self, first: Key, last: Key) -> dict[Key, _Older]:
        asked = between(f"SELECT tenant, request_id, timestamp, value FROM {OLDER} FINAL", first, last)
        return {
            (row["tenant"], row["request_id"]): _Older(b64decode(row["value"]), row["timestamp"])
            for row in await self._database.rows(asked)
            if row["value"] is not None
        }

    async def _rows(self, first: Key, last: Key) -> dict[Key, tuple[StateRow, int]]:
        names = ", ".join(StateRow._fields)
        asked = (
            f"SELECT tenant, request_id, {names}, toUnixTimestamp64Milli(last_received_at) AS stamp"
            f" FROM {FEEDBACK_STATE} FINAL"
        )
        return {
            (row["tenant"], row["request_id"]): (
                StateRow(*(row[name] for name in StateRow._fields)),
                row["stamp"],
            )
            for row in await self._database.rows(between(asked, first, last))
        }


def _without_events(after: Key, limit: int) -> Statement:
    named = " UNION DISTINCT ".join(
        f"SELECT tenant, request_id FROM {table}"
        for table in (f"{OLDER} FINAL WHERE value IS NOT NULL", f"{FEEDBACK_STATE} FINAL", ERASED_REQUESTS)
    )
    return Statement(
        f"SELECT tenant, request_id FROM ({named})"
        " WHERE (tenant, request_id) > ({tenant:String}, {request:String})"
        f" AND (tenant, request_id) NOT IN (SELECT tenant, request_id FROM {FEEDBACK_EVENTS})"
        f" ORDER BY tenant, request_id LIMIT {limit}",
        {"tenant": after[0], "request": after[1]},
    )
