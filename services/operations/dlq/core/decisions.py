"""What a replay does with a dead letter: send an event, insert a row, or skip it, and why.

Dead letters of the merger go back to the events topic with their version, those of the sink to ClickHouse
with their revision.  What would fail again, or has no valid position, is skipped.  A corrected body keeps the
position of the event: one version names one event, so it may only replace one that was never merged.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import orjson

from schemas.deadletters import REPLAY_VERSION_HEADER, Reason, Stage
from schemas.events import Op
from schemas.identity import partition_of, split_key, version_of
from schemas.limits import MAX_EVENT_BYTES
from schemas.topics import Topology
from services.ingest.core.errors import Rejection
from services.ingest.core.validation import Faults, parse
from services.merger.core.events import Poison, decode
from services.operations.dlq.core.dead_letter import DeadLetterContent, DeadLetterId, StoredDeadLetter
from services.runtime.kafka.core.records import LocatedRecord
from services.sink.core.routes import SinkRoute, routes
from services.sink.core.rows import MalformedRowError

_VARIANT, _NOT_THE_VARIANT = 0x8 << 60, (1 << 62) - 1
_VERSION = 0x8 << 12


class UnfitError(ValueError):
    """A body that cannot replace the event; the text is the reason."""


def corrected(letter: StoredDeadLetter, key: bytes, original: bytes | None, body: bytes) -> bytes:
    """Return the event to replay instead, as ingest would have written it; UnfitError.

    It is validated as ingest does, since later stages rely on that.
    """
    try:
        given = parse(body)
        _judge(given)
        value = orjson.dumps(given)
        event = decode(key, value)
    except (Rejection, Poison) as error:
        raise UnfitError(_explained(error)) from error
    if len(value) > MAX_EVENT_BYTES:
        raise UnfitError(f"it takes {len(value):,} bytes; at most {MAX_EVENT_BYTES:,} are allowed")
    if event.op is Op.ERASE:
        raise UnfitError("an erase event cannot replace another event: use `afterword erase`")
    if letter.reason == Reason.IDEMPOTENCY_CONFLICT and event.event_id == _event_id(key, original):
        raise UnfitError("its event_id belongs to the first body: use another one")
    return value


def _judge(given: Any) -> None:
    """Raise the rejection that ingest would raise."""
    faults = Faults()
    if isinstance(given, dict):
        for name in ("data", "request"):
            if given.get(name) is not None:
                faults.fields(name, given[name])
        faults.value("", {name: value for name, value in given.items() if name not in ("data", "request")}, 1)
    else:
        faults.add("", "must be an object")
    faults.raise_if_any()


def _explained(error: Rejection | Poison) -> str:
    if isinstance(error, Rejection) and error.faults:
        return "; ".join(f"{fault.path or 'the body'} {fault.detail}" for fault in error.faults)
    return error.detail


def _event_id(key: bytes, value: bytes | None) -> UUID | None:
    with suppress(Poison):
        return decode(key, value or b"").event_id
    return None


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def as_new_event(letter: StoredDeadLetter, value: bytes) -> bytes:
    """Return the event with an event id of its own, the same one each time, otherwise unchanged."""
    fields = _fields(value)
    fields.pop("idempotent", None)
    fields["event_id"] = msgspec.Raw(orjson.dumps(own_id(letter)))
    return msgspec.json.encode(fields)


def own_id(letter: StoredDeadLetter) -> UUID:
    """Return a UUIDv8 derived from the original topic, partition and offset."""
    named = f"{letter.original_topic}/{letter.original_partition}/{letter.original_offset}"
    number = int.from_bytes(sha256(named.encode()).digest()[:16], "big")
    high, low = number >> 64, number & ((1 << 64) - 1)
    high = high & ~0xF000 | _VERSION
    return UUID(int=high << 64 | low & _NOT_THE_VARIANT | _VARIANT)


MARGIN = timedelta(days=1)
"""Subtracted from a topic's retention, so that a lagging merger still reads the replay in time."""


class KnownVersion(NamedTuple):
    """What is known of a version of a request."""

    latest: DeadLetterId
    """The dead letter of the latest replay."""
    first_failed_at: datetime


@dataclass(frozen=True, kw_only=True)
class ReplayContext:
    """What a decision depends on, besides the dead letter.

    `partitions` of the events topic by generation.  `kept_since`: the merger may have forgotten erasures from
    before; None if it never does.  `places` and `erased` are about the requests of the dead letters at hand.
    `named`: the dead letters were selected by id or by reason.
    """

    generation: int
    partitions: Mapping[int, int]
    kept_since: datetime | None = None
    places: Mapping[tuple[str, str, int | None], KnownVersion] = field(default_factory=dict)
    erased: Mapping[tuple[str, str], int] = field(default_factory=dict)
    named: bool = False
    as_new_events: bool = False


class SendEvent(NamedTuple):
    """An event that goes back to the events topic."""

    partition: int
    key: bytes
    value: bytes
    version: int
    note: str = ""

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The header with the version, by which the merger finds its position."""
        return [(REPLAY_VERSION_HEADER, b"%d" % self.version)]


class InsertRow(NamedTuple):
    """A row to insert into a table."""

    table: str
    line: bytes
    note: str = ""


class SkipReplay(NamedTuple):
    """Nothing is done, for this reason."""

    why: str


Decision = SendEvent | InsertRow | SkipReplay


class PlannedReplay(NamedTuple):
    """A dead letter and what a replay does with it."""

    letter: StoredDeadLetter
    decision: Decision


def decide_replay(letter: StoredDeadLetter, content: DeadLetterContent, context: ReplayContext) -> Decision:
    """Return what a replay does with a dead letter."""
    match letter.stage:
        case Stage.MERGER:
            why = _misplaced(letter, content.key, context) or _untimely(letter, context)
            return SkipReplay(why) if why else _event(letter, content, context)
        case Stage.SINK:
            return _row(letter, content)
    return SkipReplay("its headers are not Afterword's, so its position is unknown")


def _misplaced(letter: StoredDeadLetter, key: bytes, context: ReplayContext) -> str:
    """Return why the version is not a valid position for the key; empty if it is."""
    generation = generation_of(letter.original_topic)
    if letter.original_version is None or letter.original_topic != Topology(generation).events.name:
        return "its headers lack the offset in the events topic"
    if letter.reason == Reason.INVALID_REPLAY:
        return "its replay header was invalid, so its position is unknown: replay the original dead letter"
    try:
        split_key(key)
    except ValueError:
        return "its key names no request of a tenant"
    partitions = context.partitions.get(generation)
    if context.generation not in context.partitions:
        return (
            f"ClickHouse has no record of generation {context.generation} of the topics: `afterword migrate`"
        )
    if partitions is None or partition_of(key, partitions) != letter.original_partition:
        return "it was in a partition that is not that of its request, so it has no position"
    return ""


def _untimely(letter: StoredDeadLetter, context: ReplayContext) -> str:
    """Return why a replay would come too late; empty if it would not."""
    place = context.places.get((letter.tenant, letter.request_id, letter.original_version))
    if place is not None and place.latest != letter.id:
        return f"it came back as {place.latest}: replay that one"
    if context.erased.get((letter.tenant, letter.request_id), -1) >= (letter.original_version or 0):
        return "its request was erased later, so it would be ignored"
    if _is_before(context, letter.failed_at if place is None else place.first_failed_at):
        return _TOO_OLD
    return ""


_TOO_OLD = (
    "it is older than the topics are kept: a later erasure of its request may be forgotten, and the"
    " feedback would come back"
)


def _is_before(context: ReplayContext, moment: datetime) -> bool:
    return context.kept_since is not None and moment < context.kept_since + MARGIN


def _event(letter: StoredDeadLetter, content: DeadLetterContent, context: ReplayContext) -> Decision:
    if content.correction is not None:
        return _checked(replace(letter, corrected=True), content.key, content.correction, context)
    if letter.reason == Reason.CRASHED:
        # Not decoded here: it may crash this process, too.
        if not context.named:
            return SkipReplay(
                "it crashed the merger: once that is fixed, select it by its id or --reason crashed"
            )
        note = "without a fix the merger crashes again"
        return _sent(letter, content.key, content.value or b"", context, note)
    if content.value is None:
        return SkipReplay("it has no value")
    return _checked(letter, content.key, content.value, context)


def _checked(letter: StoredDeadLetter, key: bytes, value: bytes, context: ReplayContext) -> Decision:
    """Decide on a value by decoding it as the merger does."""
    try:
        event = decode(key, value)
    except Poison as poison:
        return SkipReplay(f"it would be refused again: {poison.detail}")
    if _is_before(context, event.received_at):
        return SkipReplay(_TOO_OLD)
    if letter.reason == Reason.IDEMPOTENCY_CONFLICT and not letter.corrected:
        if not context.as_new_events:
            return SkipReplay("the first body with its Idempotency-Key was kept; see --as-new-events")
        return _sent(letter, key, as_new_event(letter, value), context)
    is_large = letter.reason == Reason.ROW_TOO_LARGE
    return _sent(letter, key, value, context, "it fails again if its row is too large" if is_large else "")


def _sent(
    letter: StoredDeadLetter, key: bytes, value: bytes, context: ReplayContext, note: str = ""
) -> SendEvent:
    partition = partition_of(key, context.partitions[context.generation])
    return SendEvent(partition, key, value, letter.original_version or 0, note)


def _row(letter: StoredDeadLetter, content: DeadLetterContent) -> Decision:
    generation = generation_of(letter.original_topic)
    route = _route(letter.original_topic, generation)
    if route is None or letter.original_version is None:
        return SkipReplay("its headers lack the original topic, so its table is unknown")
    try:
        line = route.render(_restored(letter, content, generation), generation)
    except MalformedRowError as error:
        return SkipReplay(f"it cannot be a row: {error}")
    return (
        SkipReplay("it cannot be a row: it is not an event") if line is None else InsertRow(route.table, line)
    )


def _route(topic: str, generation: int) -> SinkRoute | None:
    return next(
        (
            route
            for route in routes(Topology(generation))
            if route.dead_letters is not None and topic in [one.name for one in route.topics]
        ),
        None,
    )


def _restored(letter: StoredDeadLetter, content: DeadLetterContent, generation: int) -> LocatedRecord:
    """Return the record as the sink read it; its timestamp is that of ingest, since Kafka's is not stored."""
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


def _received_at(letter: StoredDeadLetter, content: DeadLetterContent) -> datetime:
    with suppress(Poison):
        return decode(content.key, content.value or b"").received_at
    return letter.failed_at


def is_taken(letter: StoredDeadLetter, newest_copy: int | None) -> bool:
    """Return whether a later record already has the version of the dead letter.

    `newest_copy` is the position of the newest record with that version (generation << 48 | offset), if any.
    It may be the record of the dead letter itself: a replay that was refused.
    """
    own = version_of(generation_of(letter.original_topic), letter.original_offset)
    return newest_copy is not None and newest_copy > own


_GENERATION = re.compile(r"-v([0-9]{1,5})\Z", re.ASCII)


def generation_of(topic: str) -> int:
    """Return the generation in a topic's name."""
    match = _GENERATION.search(topic)
    return int(match[1]) if match else 0
