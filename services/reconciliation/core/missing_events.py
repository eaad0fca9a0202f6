"""Finds out whether an event that seems to be missing is really missing: statements, and what excuses it.

It is not missing if it is stored after all, or a replay of it; if ClickHouse refused it, and it waits in the
dead letters; or if its request was erased since.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from schemas.tables import DEAD_LETTERS, ERASED_REQUESTS, FEEDBACK_EVENTS, FEEDBACK_STATE
from services.reconciliation.core.events import Suspect

AT_ONCE = 500
"""Events in one question."""

LookupRow = Sequence[Any]


Ask = Callable[[str], Awaitable[Sequence[LookupRow]]]
"""Asks ClickHouse a statement, and returns the rows."""


async def missing(ask: Ask, suspects: Sequence[Suspect]) -> list[Suspect]:
    """Return those that nothing excuses, in their order."""
    found: list[Suspect] = []
    for start in range(0, len(suspects), AT_ONCE):
        found += await _missing(ask, suspects[start : start + AT_ONCE])
    return found


async def _missing(ask: Ask, suspects: Sequence[Suspect]) -> list[Suspect]:
    left = without_stored(suspects, await ask(stored(suspects)))
    if left:
        left = without_erased(left, await ask(erasures(left)))
    if left:
        left = without_refused(left, await ask(refusals(left)))
    return left


def stored(suspects: Sequence[Suspect]) -> str:
    """Ask for the offset of the newest record of each event in ClickHouse."""
    places = (
        f"({quoted(suspect.tenant)},{quoted(suspect.request_id)},{suspect.version})" for suspect in suspects
    )
    return (
        f"SELECT tenant, request_id, version, max(log_offset) FROM {FEEDBACK_EVENTS}"  # noqa: S608
        f" WHERE (tenant, request_id, version) IN ({', '.join(places)}) GROUP BY tenant, request_id, version"
    )


def without_stored(suspects: Iterable[Suspect], rows: Iterable[LookupRow]) -> list[Suspect]:
    """Leave out those of which ClickHouse has this record or a later one."""
    newest = {(tenant, request_id, version): log_offset for tenant, request_id, version, log_offset in rows}
    return [
        suspect
        for suspect in suspects
        if newest.get((suspect.tenant, suspect.request_id, suspect.version), -1) < suspect.log_offset
    ]


def erasures(suspects: Iterable[Suspect]) -> str:
    """Ask up to which version each request was erased, and which rows are gone as a whole."""
    requests = {f"({quoted(suspect.tenant)},{quoted(suspect.request_id)})" for suspect in suspects}
    among = f"(tenant, request_id) IN ({', '.join(sorted(requests))})"
    return (
        f"SELECT tenant, request_id, max(version), 0 FROM {FEEDBACK_EVENTS}"  # noqa: S608
        f" WHERE op = 'erase' AND {among} GROUP BY tenant, request_id UNION ALL"
        f" SELECT tenant, request_id, max(version), 0 FROM {ERASED_REQUESTS}"
        f" WHERE {among} GROUP BY tenant, request_id UNION ALL"
        f" SELECT tenant, request_id, 0, argMax(is_deleted, revision) FROM {FEEDBACK_STATE}"
        f" WHERE {among} GROUP BY tenant, request_id"
    )


def without_erased(suspects: Iterable[Suspect], rows: Iterable[LookupRow]) -> list[Suspect]:
    """Leave out events of erased requests."""
    upto: dict[tuple[str, str], int] = {}
    gone: set[tuple[str, str]] = set()
    for tenant, request_id, version, is_deleted in rows:
        upto[tenant, request_id] = max(version, upto.get((tenant, request_id), -1))
        if is_deleted:
            gone.add((tenant, request_id))
    return [
        suspect
        for suspect in suspects
        if (suspect.tenant, suspect.request_id) not in gone
        and suspect.version > upto.get((suspect.tenant, suspect.request_id), -1)
    ]


def refusals(suspects: Iterable[Suspect]) -> str:
    """Ask which of the records the sink dead-lettered."""
    places = (f"({quoted(suspect.topic)},{suspect.partition},{suspect.offset})" for suspect in suspects)
    return (
        f"SELECT original_topic, original_partition, original_offset FROM {DEAD_LETTERS}"  # noqa: S608
        f" WHERE stage = 'sink'"
        f" AND (original_topic, original_partition, original_offset) IN ({', '.join(places)})"
    )


def without_refused(suspects: Iterable[Suspect], rows: Iterable[LookupRow]) -> list[Suspect]:
    """Leave out what is in the dead letters."""
    refused = {tuple(row) for row in rows}
    return [
        suspect for suspect in suspects if (suspect.topic, suspect.partition, suspect.offset) not in refused
    ]


def quoted(text: str) -> str:
    """Return a literal of SQL.  Ids are long and many, and parameters travel in the address."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
