"""Replays of dead letters: whatever their order and number, they come to what the log's order says."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.deadletters import Stage
from schemas.identity import split_key
from services.merger.core import state as states
from services.merger.core.admission import LIMITS, RowLimits
from services.merger.core.fold import DeadLetterRecord, fold, keys_of
from services.merger.core.state import NEVER, request_of
from services.operations.dlq.core.dead_letter import DeadLetterContent
from services.operations.dlq.core.decisions import ReplayContext, SendEvent, decide_replay
from tests.support.merger.records import SOURCE, ARecord, a_record, events, in_pieces, logs
from tests.support.merger.states import shown
from tests.support.operations.dead_letters import a_letter
from tests.support.oracles.merge import Oracle

SMALL = RowLimits(keys=5, bytes=40)
"""Limits that a drawn log reaches soon."""

GROUND = ReplayContext(generation=0, partitions={0: 1}, named=True, as_new_events=True)

Rows = dict[bytes, bytes]


def fold_in_pieces(
    pieces: Iterable[Sequence[ARecord]],
    rows: Rows,
    crashed: frozenset[int] = frozenset(),
    limits: RowLimits = LIMITS,
) -> list[DeadLetterRecord]:
    """Fold batches into the rows, and return what was given up."""
    letters: list[DeadLetterRecord] = []
    for piece in pieces:
        stored = {key: rows.get(key) for key in keys_of(piece)}
        folded = fold(piece, stored, SOURCE, crashed, limits)
        rows |= {key: row.value for key, row in folded.rows.items()}
        letters += folded.letters
    return letters


def sends_of(letters: Iterable[DeadLetterRecord]) -> list[SendEvent]:
    """Return what a replay of these dead letters sends."""
    decided = [decided_on(offset, letter) for offset, letter in enumerate(letters)]
    return [one for one in decided if isinstance(one, SendEvent)]


def decided_on(offset: int, given_up: DeadLetterRecord) -> Any:
    """Return what a replay does with one dead letter, as the sink has put it into the table."""
    record = given_up.record
    try:
        tenant, request_id = split_key(record.key or b"")
    except ValueError:
        tenant, request_id = "", ""
    letter = a_letter(
        offset,
        stage=Stage.MERGER,
        reason=given_up.reason,
        tenant=tenant,
        request_id=request_id,
        original_offset=record.offset,
        original_version=given_up.version,
    )
    return decide_replay(letter, DeadLetterContent(record.key or b"", record.value), GROUND)


def appended(log: Sequence[ARecord], sends: Iterable[SendEvent]) -> list[ARecord]:
    """Return the records that replays add behind a log."""
    return [
        ARecord(len(log) + number, send.key, send.value, tuple(send.headers))
        for number, send in enumerate(sends)
    ]


def in_any_order(data: st.DataObject, sends: Sequence[SendEvent]) -> list[SendEvent]:
    """Draw an order of the replays, some of them several times, each at least once."""
    repeats = data.draw(st.lists(st.sampled_from(sends), max_size=6)) if sends else []
    return data.draw(st.permutations([*sends, *repeats]))


def public(rows: Rows) -> dict[bytes, Any]:
    """Return what the rows say to everybody but the merger."""
    return {key: shown(row) for key, row in rows.items()}


@given(st.lists(events(), min_size=1, max_size=16), st.data())
def test_replays_in_any_order_yield_the_fold_of_the_log(
    drawn: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Any events were given up: replayed in any order, any number of times, each is where it would have been.

    Without Idempotency-Keys and limits, by which an event that comes first may keep out another one.
    """
    log = [a_record(n, {**event, "idempotent": None}) for n, event in enumerate(drawn)]
    crashed = data.draw(st.frozensets(st.integers(0, len(log) - 1)))
    whole: Rows = {}
    fold_in_pieces([log], whole)

    rows: Rows = {}
    letters = fold_in_pieces([log], rows, crashed)
    replays = appended(log, in_any_order(data, sends_of(letters)))
    back = fold_in_pieces(in_pieces(replays, data.draw(st.lists(st.integers(0, 20), max_size=3))), rows)

    assert back == []
    assert {key: kept(row) for key, row in rows.items()} == {key: kept(row) for key, row in whole.items()}


def kept(row: bytes) -> tuple[Any, ...]:
    """Return what must not depend on the order in which events came; what an erase left has no times."""
    state = states.decode(row)
    private = state.merge
    return (
        {key: json.loads(bytes(value)) for key, value in state.data.items()},
        {key: json.loads(bytes(value)) for key, value in request_of(state).items()},
        private.data,
        private.request,
        private.erased,
        private.retracted,
        *(() if private.erased != NEVER else (state.version, state.first_received_at, state.sources)),
    )


@given(logs(), st.data())
def test_replays_of_any_log_yield_the_state_of_the_oracle(log: list[ARecord], data: st.DataObject) -> None:
    """Conflicts, limits, broken records and earlier replays among them; dead letters too."""
    crashed = data.draw(st.frozensets(st.integers(0, 24), max_size=3)) & {one.offset for one in log}
    rows: Rows = {}
    letters = fold_in_pieces([log], rows, crashed, SMALL)
    replays = appended(log, in_any_order(data, sends_of(letters)))
    pieces = in_pieces(replays, data.draw(st.lists(st.integers(0, 20), max_size=3)))
    back = fold_in_pieces(pieces, rows, limits=SMALL)

    truth = Oracle(max_keys=SMALL.keys, max_bytes=SMALL.bytes)
    for record in (*(one for one in log if one.offset not in crashed), *replays):
        truth.read(record)
    assert public(rows) == truth.rows
    assert [letter.record.offset for letter in back] == [
        offset for _, offset, _ in truth.dead if offset >= len(log)
    ]


@given(logs(), st.data())
def test_replaying_everything_again_changes_nothing(log: list[ARecord], data: st.DataObject) -> None:
    """Nothing that is replayed is broken, and rows and dead letters stay as the first replay left them."""
    rows: Rows = {}
    sends = sends_of(fold_in_pieces([log], rows))
    first = appended(log, sends)
    back = fold_in_pieces([first], rows)
    once = public(rows)
    again = appended([*log, *first], in_any_order(data, sends))

    assert all(send.version < len(log) for send in sends)
    assert back == fold_in_pieces([again], rows) == []
    assert public(rows) == once
