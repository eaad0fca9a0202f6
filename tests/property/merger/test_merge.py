"""The laws of the merge, over whatever Hypothesis invents."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.state import ErasedState, FeedbackState
from services.merger.core import events as bodies
from services.merger.core import state as states
from services.merger.core.admission import LIMITS, REASONS, RowLimits, weight
from services.merger.core.fold import Folded, fold, keys_of
from services.merger.core.merge import merge
from services.merger.core.state import MergerState, blank
from tests.support.merger.records import SOURCE, ARecord, a_record, an_event, events, in_pieces, logs
from tests.support.merger.states import shown
from tests.support.oracles.merge import Oracle

Versioned = tuple[int, dict[str, Any]]

SMALL = RowLimits(keys=5, bytes=40)
"""Limits that a drawn log reaches soon."""


def _merged(said: list[Versioned]) -> MergerState:
    state = blank("default", "r1")
    for version, event in said:
        record = a_record(version, event)
        merge(state, bodies.decode(record.key or b"", record.value or b""), version)
    return state


def _bytes(said: list[Versioned]) -> bytes:
    return states.encode(_merged(said))


@st.composite
def _versioned(draw: st.DrawFn, *, erasing: bool) -> list[Versioned]:
    drawn = draw(st.lists(events(), min_size=1, max_size=8))
    said = [
        (number, {**event, "request_id": "r1", "event_id": an_event(number)["event_id"]})
        for number, event in enumerate(drawn)
    ]
    return [one for one in said if erasing or one[1]["op"] != "erase"] or [(0, an_event())]


@given(_versioned(erasing=False), st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(said: list[Versioned], random: Any) -> None:
    """Commutative: a replay that comes late, and events that come early, end in the same bytes."""
    shuffled = random.sample(said, len(said))

    assert _bytes(said) == _bytes(shuffled)


@given(_versioned(erasing=False), st.data())
def test_repeating_events_does_not_matter(said: list[Versioned], data: st.DataObject) -> None:
    """Idempotent, wherever the repeats come."""
    repeats = data.draw(st.lists(st.sampled_from(said)))
    both = data.draw(st.permutations(said + repeats))

    assert _bytes(said) == _bytes(both)


@given(_versioned(erasing=True), st.randoms(use_true_random=False))
def test_what_an_erase_removed_never_returns(said: list[Versioned], random: Any) -> None:
    """In any order, what is kept is what the events above the newest erase say."""
    shuffled = _merged(random.sample(said, len(said)))
    erased = max((version for version, event in said if event["op"] == "erase"), default=-1)
    above = _merged([one for one in said if one[0] > erased])

    assert shuffled.merge.erased == erased
    assert states.request_of(shuffled) == states.request_of(above)
    assert shuffled.data == above.data
    assert shuffled.merge.data == above.merge.data
    assert shuffled.merge.request == above.merge.request
    assert shuffled.merge.recent == above.merge.recent
    assert shuffled.merge.retracted == above.merge.retracted


@given(_versioned(erasing=True))
def test_a_state_survives_its_bytes(said: list[Versioned]) -> None:
    """Round trip, and the bytes of what was read are the bytes again."""
    row = _bytes(said)

    assert row == states.encode(states.decode(row))


@given(_versioned(erasing=True))
def test_a_state_is_the_row_that_was_promised(said: list[Versioned]) -> None:
    """The public fields are those of the schema, whatever the merge keeps beside them."""
    row = _bytes(said)
    model = ErasedState if states.is_erased(row) else FeedbackState
    model.model_validate_json(row)

    assert not {"merge", "sources"} & ErasedState.model_fields.keys()


def _fold_all(
    log: list[ARecord], cuts: list[int], limits: RowLimits = LIMITS
) -> tuple[dict[bytes, bytes], list[Folded]]:
    """Fold a log in batches, each row kept as bytes in between."""
    stored: dict[bytes, bytes] = {}
    folds = []
    for piece in in_pieces(log, cuts):
        folded = fold(piece, {key: stored.get(key) for key in keys_of(piece)}, SOURCE, limits=limits)
        stored |= {key: row.value for key, row in folded.rows.items()}
        folds.append(folded)
    return stored, folds


def _letters(folds: list[Folded]) -> list[tuple[int, int, str]]:
    return [(0, letter.record.offset, letter.reason.value) for folded in folds for letter in folded.letters]


CUTS = st.lists(st.integers(0, 99), max_size=4)


@given(logs(), CUTS)
def test_the_grouping_into_batches_does_not_matter(log: list[ARecord], cuts: list[int]) -> None:
    """Associative: one batch, or a restart between any two records."""
    in_one, letters = _fold_all(log, [], SMALL)
    in_many, same_letters = _fold_all(log, cuts, SMALL)

    assert in_one == in_many
    assert _letters(letters) == _letters(same_letters)


@given(logs(), st.integers(0, 99), st.integers(0, 99), CUTS)
def test_reading_any_part_of_the_log_again_changes_no_byte(
    log: list[ARecord], start: int, length: int, cuts: list[int]
) -> None:
    """Replays, refused events and repeats included, and no row's dead letters are sent twice."""
    once, _ = _fold_all(log, cuts, SMALL)
    again = [*log, *log[start : start + length]]
    twice, folds = _fold_all(again, [*cuts, len(log)], SMALL)

    assert once == twice
    # What is too large for a row of its own, which the true limits rule out, leaves no row to know it, and
    # no trace in one that is nothing but erased.
    refused = [
        letter.record.offset
        for folded in folds
        for letter in folded.letters
        if (row := once.get(letter.record.key or b"")) is not None
        and not states.is_erased(row)
        and letter.reason in REASONS.values()
    ]
    assert len(refused) == len(set(refused))


@given(logs(), CUTS)
def test_the_log_gives_the_result_of_the_oracle(log: list[ARecord], cuts: list[int]) -> None:
    """Two programs that share no code agree on every row and every dead letter."""
    truth = Oracle(max_keys=SMALL.keys, max_bytes=SMALL.bytes)
    for record in log:
        truth.read(record)
    rows, folds = _fold_all(log, cuts, SMALL)

    assert truth.rows == {key: shown(row) for key, row in rows.items()}
    assert truth.dead == _letters(folds)


@given(logs(), CUTS)
def test_no_row_grows_past_its_limits(log: list[ARecord], cuts: list[int]) -> None:
    """Keys of both parts count, cleared ones too; so do the bytes of keys and values."""
    rows, _ = _fold_all(log, cuts, SMALL)
    for row in rows.values():
        state = states.decode(row)
        cleared = {**state.merge.data.cleared, **{f"request {key}": 0 for key in state.merge.request.cleared}}

        assert len(state.data) + len(states.request_of(state)) + len(cleared) <= SMALL.keys
        assert weight(state) <= SMALL.bytes
