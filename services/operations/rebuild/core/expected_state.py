"""What the state of a request should be, from all events of it that are known, and how it compares.  Pure.

The merger's own fold decides, in the order in which the merger read: by the place of each record, whatever
place in the order a replay claims.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any, NamedTuple

import orjson
from msgspec import MsgspecError

from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.identity import event_key, split_version
from services.merger.core import state as states
from services.merger.core.fold import Source, fold
from services.merger.core.state import NEVER, State


class Row(NamedTuple):
    """An event as `feedback_events` has it; `place` is where its record stands."""

    tenant: str
    request_id: str
    version: int
    place: int
    partition: int
    event_id: str
    op: str
    source: str
    received_at: str
    appended_ms: int
    idempotent: bool
    data: str
    request: str


class _Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def _record(row: Row) -> _Record:
    body: dict[str, Any] = {
        "event_id": row.event_id,
        "tenant": row.tenant,
        "request_id": row.request_id,
        "received_at": row.received_at,
        "source": row.source,
        "op": row.op,
    }
    # An event without a part, and one with an empty part, are the same row, and the same to the merge.
    body |= {
        name: orjson.Fragment(text)
        for name, text in (("data", row.data), ("request", row.request))
        if text != "{}"
    }
    if row.idempotent:
        body["idempotent"] = True
    headers = () if row.version == row.place else ((REPLAY_VERSION_HEADER, b"%d" % row.version),)
    key = event_key(row.tenant, row.request_id)
    _, offset = split_version(row.place)
    return _Record(offset, row.appended_ms, key, orjson.dumps(body), headers)


@dataclass(frozen=True)
class Ground:
    """What the fold needs to know besides: partitions of each generation, and where crashed events stood."""

    partitions: Mapping[int, int]
    crashed: frozenset[tuple[int, int, int]] = frozenset()
    """(generation, partition, offset)"""


class Should(NamedTuple):
    """The state that the events come to, and the append time of the newest of them in milliseconds."""

    value: bytes
    timestamp: int


def folded(rows: Sequence[Row], ground: Ground, erased: int = NEVER) -> Should | None:
    """Return what the events of one request come to; None if nothing.

    `rows` are in any order.  Everything up to `erased` is erased, whether its events are known or not.
    """
    first = rows[0]
    key = event_key(first.tenant, first.request_id)
    value = None if erased == NEVER else erased_row(first.tenant, first.request_id, erased)
    timestamp = 0
    for (generation, partition), several in groupby(sorted(rows, key=_place), key=_log):
        crashed = frozenset(
            offset for gen, part, offset in ground.crashed if (gen, part) == (generation, partition)
        )
        source = _source(generation, partition, ground)
        out = fold(map(_record, several), {key: value}, source, crashed).rows.get(key)
        if out is not None and out.value is not None:
            value, timestamp = out.value, max(timestamp, out.timestamp)
    return None if value is None else Should(value, timestamp)


def _source(generation: int, partition: int, ground: Ground) -> Source:
    """Return where events come from; a generation that nobody recorded counts as one partition."""
    count = ground.partitions.get(generation)
    return Source("", generation, partition, count) if count else Source("", generation, 0, 1)


def _place(row: Row) -> int:
    return row.place


def _log(row: Row) -> tuple[int, int]:
    return split_version(row.place)[0], row.partition


def erased_row(tenant: str, request_id: str, version: int) -> bytes:
    """Return the state of a request of which everything up to a version is erased."""
    state = states.blank(tenant, request_id)
    state.version = state.merge.erased = version
    return states.encode(state)


class Verdict(Enum):
    """How a record of the state topic compares with the events."""

    SAME = "same"
    MISSING = "missing"
    """The topic has no record of the request, or a null one, which the events do not explain."""
    DAMAGED = "damaged"
    """The record is no state."""
    DIFFERS = "differs"
    INVENTED = "invented"
    """No event of the request is known, though the log would have those that it rests on."""
    INCOMPLETE = "incomplete"
    """It differs, but rests on events that are not known any more: it is left as it is."""


WRITTEN = frozenset({Verdict.MISSING, Verdict.DAMAGED, Verdict.DIFFERS})


class Bounds(NamedTuple):
    """Versions: what was erased before `start` is forgotten; from `end` on nothing can have been merged."""

    start: int
    end: int


def judge(
    found: bytes | None, should: Should | None, known: Iterable[int], erased: int, bounds: Bounds
) -> Verdict:
    """Compare a record with what the events come to; `known` are the versions of the request's events."""
    if found is None:
        return Verdict.SAME if should is None or _forgotten(should.value, bounds) else Verdict.MISSING
    try:
        has = states.decode(found)
    except MsgspecError:
        return Verdict.DAMAGED if should is not None else Verdict.INCOMPLETE
    if should is not None and not _are_of_one(has, states.decode(should.value)):
        return Verdict.DAMAGED
    if should is not None and _essence(has) == _essence(states.decode(should.value)):
        return Verdict.SAME
    versions = set(known)
    rests_on = set(_versions(has))
    explained = all(one in versions or one <= erased or one >= bounds.end for one in rests_on)
    return Verdict.DIFFERS if explained and should is not None else Verdict.INCOMPLETE


def is_like(found: bytes, should: bytes) -> bool:
    """Tell whether bytes are a state that says what another one does."""
    try:
        return _essence(states.decode(found)) == _essence(states.decode(should))
    except MsgspecError:
        return False


def judge_alone(found: bytes, erased: int, bounds: Bounds) -> Verdict:
    """Judge a record of a request of which no event is known."""
    try:
        rests_on = list(_versions(states.decode(found)))
    except MsgspecError:
        return Verdict.INCOMPLETE
    if any(version <= erased or version < bounds.start for version in rests_on):
        return Verdict.SAME if max(rests_on) <= erased else Verdict.INCOMPLETE
    return Verdict.INVENTED


def _forgotten(value: bytes, bounds: Bounds) -> bool:
    return states.is_erased(value) and states.decode(value).version < bounds.start


def _are_of_one(one: State, other: State) -> bool:
    """Tell whether two states are of one request; of another's nothing counts."""
    return all(
        orjson.loads(bytes(getattr(one, name))) == orjson.loads(bytes(getattr(other, name)))
        for name in ("tenant", "request_id")
    )


def _essence(state: State) -> bytes:
    """Return what two states must share: neither hashes of bodies, nor which refused record came last."""
    own = state.merge
    kept = own.read, own.recent
    own.read, own.recent = NEVER, [(known[0], known[1], "") for known in own.recent]
    text = states.encode(state)
    own.read, own.recent = kept
    return text


def _versions(state: State) -> Iterator[int]:
    own = state.merge
    named = [state.version, own.erased, own.retracted, *(known[1] for known in own.recent)]
    for part in (own.data, own.request):
        named += [part.newest, *part.older.values(), *part.cleared.values()]
    return (version for version in named if version != NEVER)
