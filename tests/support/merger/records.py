"""Records of the events topic for tests: by hand, and by Hypothesis."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import strategies as st

from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.identity import event_key
from services.merger.core.fold import SourcePartition

SOURCE = SourcePartition(topic="feedback-events", generation=0, partition=0, partitions=1)
"""One partition, so that every key belongs into it."""


class ARecord(NamedTuple):
    """A Kafka record, as far as anybody here looks at it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = 1_795_000_000_000
    partition: int = 0


def an_event_id(number: int, *, idempotent: bool = False) -> str:
    """Return an event id: the same one for the same number."""
    return f"019a9f6e-0000-{'8' if idempotent else '7'}000-8000-{number:012x}"


def an_event(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the body of a merge event of `default/r1` without fields; None takes a key out."""
    event = {
        "event_id": an_event_id(number, idempotent=changes.get("idempotent", False)),
        "tenant": "default",
        "request_id": "r1",
        "received_at": f"2026-11-22T08:00:{number % 60:02d}.000001Z",
        "source": "native",
        "op": "merge",
        **changes,
    }
    return {name: value for name, value in event.items() if value is not None}


def a_record(offset: int, event: dict[str, Any] | None = None, *, replays: int | None = None) -> ARecord:
    """Return the record of an event; `replays` is the version that it had at first."""
    event = an_event(offset) if event is None else event
    headers = () if replays is None else ((REPLAY_VERSION_HEADER, str(replays).encode()),)
    value = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    return ARecord(offset, event_key(event["tenant"], event["request_id"]), value, headers)


def a_log(*events: dict[str, Any]) -> list[ARecord]:
    """Return records with offsets from 0."""
    return [a_record(offset, event) for offset, event in enumerate(events)]


KEYS = st.sampled_from(["a", "b", "rating", "é"])
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.lists(st.booleans(), max_size=2),
    st.dictionaries(KEYS, st.text(max_size=2, alphabet="xy"), max_size=2),
)
FIELDS = st.dictionaries(KEYS, VALUES, max_size=3)
ITEM_IDS = st.sampled_from([None, None, "score-1", "é/2", "", "a\nb", "x" * 257, 5, ["score-1"]])
TIMES = st.sampled_from(
    [None, None, "2026-11-22T07:59:58.250000Z", "2026-11-22T09:00:00+01:00", "yesterday", "", 5, "2100-01-01"]
)
"""What `item_id` and `at` of a foreign producer may be; not each is usable."""


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an event of one of two requests; ids repeat, with the same body or another."""
    op = draw(st.sampled_from(["merge"] * 6 + ["retract", "retract", "erase"]))
    number, idempotent = draw(st.integers(0, 30)), draw(st.booleans())
    return an_event(
        number,
        event_id=an_event_id(number % 5 if idempotent else number, idempotent=idempotent),
        request_id=draw(st.sampled_from(["r1", "r1", "r1", "r2"])),
        source=draw(st.sampled_from(["native", "requesty", "gptboost"])),
        op=op,
        data=draw(st.none() | FIELDS) if op == "merge" else None,
        request=draw(st.none() | FIELDS) if op == "merge" else None,
        idempotent=True if idempotent else None,
        item_id=draw(ITEM_IDS),
        at=draw(TIMES),
    )


_BROKEN = st.sampled_from([b"", b"{", b"null", b"[]", b'{"op":"merge"}', b"\xff", None])
_HEADERS = st.sampled_from([b"", b"x", b"-1", b"1" * 21, b"9" * 20, "٣".encode(), None])


@st.composite
def logs(draw: st.DrawFn, max_size: int = 24) -> list[ARecord]:
    """Draw the log of a partition: events, replays of earlier places, and records that are no events."""
    records: list[ARecord] = []
    for offset in range(draw(st.integers(0, max_size))):
        kind = draw(st.integers(0, 19))
        record = a_record(offset, draw(events()))
        if kind == 0:
            record = record._replace(value=draw(_BROKEN))
        elif kind == 1:
            record = record._replace(key=draw(st.sampled_from([None, b"", b"default/r3", b"\xff"])))
        elif kind == 2:
            record = record._replace(headers=((REPLAY_VERSION_HEADER, draw(_HEADERS)),))
        elif kind < 6:
            # A replay is the event that was there before; it may also claim a place that is not behind it.
            earlier = draw(st.integers(0, offset))
            original = records[earlier] if earlier < offset else record
            headers = ((REPLAY_VERSION_HEADER, b"%d" % earlier),)
            record = record._replace(key=original.key, value=original.value, headers=headers)
        records.append(record)
    return records


def in_pieces(records: Sequence[ARecord], cuts: Iterable[int]) -> list[Sequence[ARecord]]:
    """Cut a log into batches after the given numbers of records."""
    edges = sorted({0, len(records), *(cut % (len(records) + 1) for cut in cuts)})
    return [records[start:end] for start, end in pairwise(edges)]
