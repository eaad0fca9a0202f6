"""What a replay does with a dead letter: send an event, insert a row, or leave it, and why.  Pure.

The merger's go back to the events topic at their version, the sink's to ClickHouse at their revision.  What
would come back as it is, or would not be in its own place, is left.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from schemas.deadletters import REPLAY_VERSION_HEADER, Reason, Stage
from schemas.identity import partition_of, split_key, version_of
from schemas.topics import Topology
from services.merger.core.events import Poison, decode
from services.operations.dlq.core.corrections import as_new_event
from services.operations.dlq.core.letters import Bytes, Id, Letter
from services.runtime.kafka.core.records import LocatedRecord
from services.sink.core.routes import SinkRoute, routes
from services.sink.core.rows import MalformedRowError

MARGIN = timedelta(days=1)
"""Before a topic's retention ends, so that a merger that is behind reads the replay in time."""


class Place(NamedTuple):
    """What is known of one place in the order of one request."""

    latest: Id
    """The dead letter that the latest try ended as."""
    first_failed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a decision stands on, besides the letter.

    `partitions` of the events topic by generation.  `kept_since`: of requests that were erased before then,
    the merger may have forgotten it; None if it never forgets.  `places` and `erased` are about the requests
    of the letters at hand.  Letters in `named` were asked for one by one, or by their reason.
    """

    generation: int
    partitions: Mapping[int, int]
    kept_since: datetime | None = None
    places: Mapping[tuple[str, str, int | None], Place] = field(default_factory=dict)
    erased: Mapping[tuple[str, str], int] = field(default_factory=dict)
    named: bool = False
    as_new_events: bool = False


class Send(NamedTuple):
    """An event that goes back to the events topic."""

    partition: int
    key: bytes
    value: bytes
    version: int
    note: str = ""

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The header that gives it its place."""
        return [(REPLAY_VERSION_HEADER, b"%d" % self.version)]


class Insert(NamedTuple):
    """A row that goes to a table."""

    table: str
    line: bytes
    note: str = ""


class Leave(NamedTuple):
    """Nothing is done, and why."""

    why: str


Decision = Send | Insert | Leave


class Decided(NamedTuple):
    """A dead letter and what a replay does with it."""

    letter: Letter
    decision: Decision


def decide(letter: Letter, content: Bytes, ground: Ground) -> Decision:
    """Return what a replay of a dead letter is."""
    match letter.stage:
        case Stage.MERGER:
            why = _misplaced(letter, content.key, ground) or _untimely(letter, ground)
            return Leave(why) if why else _event(letter, content, ground)
        case Stage.SINK:
            return _row(letter, content)
    return Leave("its headers are not Afterword's, so nobody knows its place")


def _misplaced(letter: Letter, key: bytes, ground: Ground) -> str:
    """Return why the letter's version is no place in the order of its key; empty if it is one."""
    generation = generation_of(letter.original_topic)
    if letter.original_version is None or letter.original_topic != Topology(generation).events.name:
        return "it does not say where in the events topic it stood"
    if letter.reason == Reason.INVALID_REPLAY:
        return "its replay header was wrong, so nobody knows its place: replay what it was made from"
    try:
        split_key(key)
    except ValueError:
        return "its key names no request of a tenant"
    partitions = ground.partitions.get(generation)
    if ground.generation not in ground.partitions:
        return (
            f"ClickHouse has no record of generation {ground.generation} of the topics: `afterword migrate`"
        )
    if partitions is None or partition_of(key, partitions) != letter.original_partition:
        return "it stood in a partition where its request does not belong, so it has no place in its order"
    return ""


def _untimely(letter: Letter, ground: Ground) -> str:
    """Return why it is too late for the letter; empty if it is not."""
    place = ground.places.get((letter.tenant, letter.request_id, letter.original_version))
    if place is not None and place.latest != letter.id:
        return f"it came back as {place.latest}: replay that one"
    if ground.erased.get((letter.tenant, letter.request_id), -1) >= (letter.original_version or 0):
        return "its request was erased since, so it would be ignored"
    if _is_before(ground, letter.failed_at if place is None else place.first_failed_at):
        return _TOO_OLD
    return ""


_TOO_OLD = (
    "it is older than the topics are kept: if its request was erased since, nobody would know any more,"
    " and it would come back"
)


def _is_before(ground: Ground, moment: datetime) -> bool:
    return ground.kept_since is not None and moment < ground.kept_since + MARGIN


def _event(letter: Letter, content: Bytes, ground: Ground) -> Decision:
    if content.correction is not None:
        return _checked(replace(letter, corrected=True), content.key, content.correction, ground)
    if letter.reason == Reason.CRASHED:
        # Not even looked at here: it may end this process, too.
        if not ground.named:
            return Leave("it ended the merger: once that is mended, name it by its id or --reason crashed")
        note = "if the merger is not mended, it ends again"
        return _sent(letter, content.key, content.value or b"", ground, note)
    if content.value is None:
        return Leave("it has no value")
    return _checked(letter, content.key, content.value, ground)


def _checked(letter: Letter, key: bytes, value: bytes, ground: Ground) -> Decision:
    """Decide on a value that is decoded as the merger will decode it."""
    try:
        event = decode(key, value)
    except Poison as poison:
        return Leave(f"it would be refused again: {poison.detail}")
    if _is_before(ground, event.received_at):
        return Leave(_TOO_OLD)
    if letter.reason == Reason.IDEMPOTENCY_CONFLICT and not letter.corrected:
        if not ground.as_new_events:
            return Leave("the first body under its Idempotency-Key stands; see --as-new-events")
        return _sent(letter, key, as_new_event(letter, value), ground)
    is_large = letter.reason == Reason.ROW_TOO_LARGE
    return _sent(letter, key, value, ground, "it comes back if its row has no room" if is_large else "")


def _sent(letter: Letter, key: bytes, value: bytes, ground: Ground, note: str = "") -> Send:
    partition = partition_of(key, ground.partitions[ground.generation])
    return Send(partition, key, value, letter.original_version or 0, note)


def _row(letter: Letter, content: Bytes) -> Decision:
    generation = generation_of(letter.original_topic)
    route = _route(letter.original_topic, generation)
    if route is None or letter.original_version is None:
        return Leave("it does not say which topic it came from, so nobody knows its table")
    try:
        line = route.render(_restored(letter, content, generation), generation)
    except MalformedRowError as error:
        return Leave(f"it can be no row: {error}")
    return Leave("it can be no row: it is not an event") if line is None else Insert(route.table, line)


def _route(topic: str, generation: int) -> SinkRoute | None:
    return next(
        (
            route
            for route in routes(Topology(generation))
            if route.dead_letters is not None and topic in [one.name for one in route.topics]
        ),
        None,
    )


def _restored(letter: Letter, content: Bytes, generation: int) -> LocatedRecord:
    """Return the record as the sink had it; its time is that of ingest, since nobody kept Kafka's."""
    version = letter.original_version or 0
    is_replay = version < version_of(generation, letter.original_offset)
    return LocatedRecord(
        letter.original_topic,
        letter.original_partition,
        letter.original_offset,
        int(_received_at(letter, content).timestamp() * 1000),
        content.key,
        content.value,
        [(REPLAY_VERSION_HEADER, b"%d" % version)] if is_replay else [],
    )


def _received_at(letter: Letter, content: Bytes) -> datetime:
    with suppress(Poison):
        return decode(content.key, content.value or b"").received_at
    return letter.failed_at


def is_taken(letter: Letter, newest_copy: int | None) -> bool:
    """Tell whether a later record already brought an event to the letter's place.

    `newest_copy` is where the newest record of that version stands (generation << 48 | offset), if any does.
    The letter's own record may be one: a replay that was refused.
    """
    own = version_of(generation_of(letter.original_topic), letter.original_offset)
    return newest_copy is not None and newest_copy > own


_GENERATION = re.compile(r"-v([0-9]{1,5})\Z", re.ASCII)


def generation_of(topic: str) -> int:
    """Return the generation that a topic's name says."""
    match = _GENERATION.search(topic)
    return int(match[1]) if match else 0
