"""Reads one request: its row, its events, and its dead letters."""

from dataclasses import dataclass
from typing import Any

import orjson

from schemas.tables import DEAD_LETTERS, FEEDBACK_AGREEMENT, FEEDBACK_EVENTS, FEEDBACK_RATERS
from services.query.reads.core.history import (
    HistoryEvent,
    StoredLetter,
    became,
    changed,
    item,
    letter_of,
    logged,
    visible,
)
from services.query.reads.core.sql import SELECTED
from services.query.reads.core.sql import item as row_item
from services.query.store import QueryStore, Row
from services.runtime.clickhouse.core.statement import Statement

MOST_EVENTS = 20_000
"""The most events of one request that are read, the newest ones."""

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000
"""Events on a page."""

MOST_RATERS = 1_000
"""The most values of raters of one request that are read, the newest ones."""

_WHOSE = "tenant = {tenant:String} AND request_id = {request_id:String}"

POINT = f"SELECT {SELECTED} FROM feedback_state FINAL WHERE {_WHOSE}"

VERSION = f"SELECT version FROM feedback_state FINAL WHERE {_WHOSE}"

LOGGED = (
    "SELECT version, log_offset, toString(event_id) AS event_id, op, idempotent "
    f"FROM {FEEDBACK_EVENTS} FINAL WHERE {_WHOSE} ORDER BY version DESC LIMIT {MOST_EVENTS}"
)

LETTERS = (
    "SELECT stage, reason, detail, original_topic, original_offset, original_version, failed_at, "
    "replayed_at, "
    "if(stage = 'sink', JSONExtractUInt(ifNull(raw, ''), 'version'), 0) AS row_version "
    # The request of a dead letter never changes, so PREWHERE avoids reading other rows.
    f"FROM {DEAD_LETTERS} FINAL PREWHERE {_WHOSE}"
)

NAMED = (
    "arrayMap(one -> (one.1, if(one.2 = 'null', '', toString(sipHash64(one.2)))), "
    "JSONExtractKeysAndValuesRaw({part}))"
)
"""The keys of an event, each with a hash of its value; empty for null."""

EVENTS = (
    "SELECT version, log_offset, toString(event_id) AS event_id, op, idempotent, "
    f"{NAMED.format(part='data')} AS data_keys, {NAMED.format(part='request')} AS request_keys "
    f"FROM {FEEDBACK_EVENTS} FINAL WHERE {_WHOSE} ORDER BY version DESC LIMIT {MOST_EVENTS}"
)

BODIES = (
    "SELECT version, source, received_at, appended_at, data, request, item_id, at "
    f"FROM {FEEDBACK_EVENTS} FINAL WHERE {_WHOSE} AND version IN {{versions:Array(UInt64)}}"
)


RATERS = (
    "SELECT key, rater, value, version, received_at, at "
    f"FROM {FEEDBACK_RATERS} WHERE {_WHOSE} ORDER BY version DESC, key LIMIT {MOST_RATERS}"
)

AGREEMENT = (
    "SELECT key, raters, mean, min, max, disagreement, latest "
    f"FROM {FEEDBACK_AGREEMENT} WHERE {_WHOSE} ORDER BY key LIMIT {MOST_RATERS}"
)


@dataclass(frozen=True)
class StoredHistory:
    """What is stored of a request; `row` as JSON for clients, None if there is none."""

    row: dict[str, Any] | None
    events: list[HistoryEvent]
    letters: list[StoredLetter]

    @property
    def row_version(self) -> int | None:
        """The version of the row."""
        return None if self.row is None else int(self.row["version"])


async def point(store: QueryStore, tenant: str, request_id: str) -> dict[str, Any] | None:
    """Return the row of a request as readers get it, or None; raise QueryProblem."""
    rows = await store.rows(_about(POINT, tenant, request_id))
    return row_item(rows[0]) if rows else None


async def raters(store: QueryStore, tenant: str, request_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return the `raters` of a request, newest values first, and their `agreement`; raise QueryProblem."""
    given = await store.rows(_about(RATERS, tenant, request_id))
    agreement = await store.rows(_about(AGREEMENT, tenant, request_id)) if given else []
    return {
        "raters": [
            {**row, "value": orjson.loads(row["value"]), "version": str(row["version"])} for row in given
        ],
        "agreement": [{**row, "latest": orjson.loads(row["latest"])} for row in agreement],
    }


async def stored_history(store: QueryStore, tenant: str, request_id: str) -> StoredHistory:
    """Return what is stored of a request: events and dead letters first, then the row."""
    events = await store.rows(_about(LOGGED, tenant, request_id))
    letters = await store.rows(_about(LETTERS, tenant, request_id))
    row = await point(store, tenant, request_id)
    return StoredHistory(row, [logged(event) for event in events], [letter_of(letter) for letter in letters])


@dataclass(frozen=True)
class EventPage:
    """A page of events, and the version after which the next one begins; None on the last."""

    items: list[dict[str, Any]]
    next_version: int | None


async def history(store: QueryStore, tenant: str, request_id: str) -> list[dict[str, Any]]:
    """Return the newest events of a request, at most 1,000, oldest first; raise QueryProblem."""
    found = await event_page(store, tenant, request_id, limit=MAX_LIMIT, newest_first=True)
    return found.items[::-1]


async def event_page(
    store: QueryStore,
    tenant: str,
    request_id: str,
    *,
    limit: int,
    after: int | None = None,
    newest_first: bool = False,
) -> EventPage:
    """Return the events after a version in the order of versions, or before it with `newest_first`."""
    events = await store.rows(_about(EVENTS, tenant, request_id))
    letters = [letter_of(row) for row in await store.rows(_about(LETTERS, tenant, request_id))]
    versions = await store.rows(_about(VERSION, tenant, request_id))
    outcome = became(events, letters, versions[0]["version"] if versions else None)
    shown = visible(events, outcome)
    did = changed(shown, outcome)
    rest = [event for event in shown if after is None or _is_after(event["version"], after, newest_first)]
    page = (rest[::-1] if newest_first else rest)[:limit]
    bodies = await _bodies(store, tenant, request_id, [event["version"] for event in page])
    items = [
        item(event, bodies[version], did[version], outcome[version])
        for event in page
        if (version := event["version"]) in bodies
    ]
    return EventPage(items, page[-1]["version"] if len(rest) > limit else None)


def _is_after(version: int, after: int, newest_first: bool) -> bool:  # noqa: FBT001 (a private helper)
    return version < after if newest_first else version > after


async def _bodies(store: QueryStore, tenant: str, request_id: str, versions: list[int]) -> dict[int, Row]:
    if not versions:
        return {}
    rows = await store.rows(
        Statement(BODIES, {"tenant": tenant, "request_id": request_id, "versions": versions})
    )
    return {row["version"]: row for row in rows}


def _about(sql: str, tenant: str, request_id: str) -> Statement:
    return Statement(sql, {"tenant": tenant, "request_id": request_id})
