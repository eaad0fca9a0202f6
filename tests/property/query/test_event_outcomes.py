"""What became of an event, told from what is stored, against the merger that decided it."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.deadletters import REPLAY_VERSION_HEADER
from services.merger.core.admission import Outcome as Admitted
from services.merger.core.admission import RowLimits
from services.query.reads.core.history import (
    EventOutcome,
    became,
    changed,
    letter_of,
    logged,
    outcome_of,
    outcomes,
    visible,
)
from tests.support.merger.records import a_record, an_event, an_event_id, events
from tests.support.oracles.outcomes import Merged

EXPECTED = {
    Admitted.MERGED: (EventOutcome.MERGED, ""),
    Admitted.REPEAT: (EventOutcome.IGNORED, "repeat"),
    Admitted.ERASED: (EventOutcome.IGNORED, "erased"),
    Admitted.CONFLICT: (EventOutcome.DEAD_LETTERED, "idempotency_conflict"),
    Admitted.TOO_LARGE: (EventOutcome.DEAD_LETTERED, "row_too_large"),
    Admitted.POISON: (EventOutcome.DEAD_LETTERED, "malformed_event"),
    Admitted.CRASHED: (EventOutcome.DEAD_LETTERED, "crashed"),
}
REQUESTS = ("r1", "r2")
BROKEN = (b"", b"{", b"null", b'{"op":"merge"}', b"\xff")
SMALL = RowLimits(keys=6, bytes=200)
"""Limits that a drawn log reaches soon."""


@st.composite
def merged(draw: st.DrawFn) -> Merged:
    """Draw a log: events, broken records, records that end the merger, and replays of what was given up."""
    world = Merged(limits=draw(st.sampled_from([SMALL, RowLimits()])))
    replayed: set[int] = set()
    for offset in range(draw(st.integers(1, 20))):
        kind = draw(st.integers(0, 11))
        record = a_record(offset, draw(events()))
        again = [one for one in world.refused if one.offset not in replayed and not one.headers]
        if kind == 0:
            record = record._replace(value=draw(st.sampled_from(BROKEN)))
        elif kind < 4 and again:
            original = draw(st.sampled_from(again))
            replayed.add(original.offset)
            record = original._replace(
                offset=offset, headers=((REPLAY_VERSION_HEADER, b"%d" % original.offset),)
            )
        world.append(record, crashed=kind == 11)
    return world


@settings(max_examples=30)
@given(merged())
def test_every_outcome_is_the_one_that_the_merger_decided(world: Merged) -> None:
    """Merged, a repeat, below an erase, or given up for the same reason: for every stored event."""
    for request_id in REQUESTS:
        rows = world.events_of(request_id)
        letters = [letter_of(row) for row in world.letters_of(request_id)]

        found = outcomes(map(logged, rows), letters)

        expected = {row["version"]: EXPECTED[world.outcomes[row["log_offset"]]] for row in rows}
        assert expected == {version: (one.outcome, one.reason) for version, one in found.items()}


@settings(max_examples=30)
@given(merged(), st.integers(0, 19))
def test_the_outcome_of_a_version_is_known_for_any_record(world: Merged, offset: int) -> None:
    """Also a record that is no event; and for a version of another request: that no event has it."""
    for request_id in REQUESTS:
        rows = world.events_of(request_id)
        letters = [letter_of(row) for row in world.letters_of(request_id)]
        state = world.state(request_id)

        told = outcome_of(
            offset,
            [logged(row) for row in rows],
            letters,
            row_version=state["version"] if state else None,
            consumed=world.length,
        )

        if any(row["version"] == offset for row in rows) or any(
            letter.version == offset for letter in letters
        ):
            last = max([row["log_offset"] for row in rows if row["version"] == offset] or [offset])
            last = max([last, *(letter.place for letter in letters if letter.version == offset)])
            assert (told.outcome, told.reason) == EXPECTED[world.outcomes[last]]
        else:
            assert (told.outcome, told.reason) == (EventOutcome.MERGED, "no_event")


@settings(max_examples=30)
@given(merged(), st.integers(0, 20))
def test_what_the_merger_has_not_read_is_not_reported(world: Merged, consumed: int) -> None:
    """Of the log from there on nothing is known but that earlier tries were given up."""
    for request_id in REQUESTS:
        rows = world.events_of(request_id)
        letters = [
            letter_of(row) for row in world.letters_of(request_id) if row["original_offset"] < consumed
        ]

        found = outcomes(map(logged, rows), letters, consumed)

        for row in rows:
            if row["log_offset"] >= consumed:
                assert found[row["version"]].outcome in (EventOutcome.PENDING, EventOutcome.DEAD_LETTERED)
                given_up = any(letter.place == row["version"] for letter in letters)
                assert given_up == (found[row["version"]].outcome is EventOutcome.DEAD_LETTERED)


@settings(max_examples=30)
@given(merged())
def test_the_history_adds_up_to_the_row(world: Merged) -> None:
    """What all events set, replaced and cleared leaves exactly the keys of the row, with its values."""
    for request_id in REQUESTS:
        rows, state = world.events_of(request_id), world.state(request_id)
        letters = [letter_of(row) for row in world.letters_of(request_id)]
        outcome = became(rows, letters, state["version"] if state else None)
        shown = visible(rows, outcome)
        did = changed(shown, outcome)

        left: dict[str, dict[str, Any]] = {"data": {}, "request": {}}
        for row in shown:
            for part, known in left.items():
                _follow(known, json.loads(row[part]), getattr(did[row["version"]], part))

        assert {part: (state or {}).get(part, {}) for part in left} == left
        assert {row["version"] for row in shown} == did.keys()


def _follow(known: dict[str, Any], said: dict[str, Any], changed: Any) -> None:
    assert not set(changed.set) & known.keys()
    assert {*changed.replaced, *changed.kept, *changed.cleared} <= known.keys()
    assert all(known[key] == said[key] for key in changed.kept)
    assert all(known[key] != said[key] or type(known[key]) is not type(said[key]) for key in changed.replaced)
    for key in changed.cleared:
        del known[key]
    known |= {key: said[key] for key in (*changed.set, *changed.replaced, *changed.kept)}


@settings(max_examples=30)
@given(merged())
def test_what_was_erased_is_not_in_the_history(world: Merged) -> None:
    """Of what came before the newest erase that was merged nothing is left but the erase."""
    for request_id in REQUESTS:
        rows, state = world.events_of(request_id), world.state(request_id)
        letters = [letter_of(row) for row in world.letters_of(request_id)]
        outcome = became(rows, letters, state["version"] if state else None)
        erases = [row for row in rows if row["op"] == "erase"]
        merged = [row["version"] for row in erases if world.outcomes[row["log_offset"]] is Admitted.MERGED]

        shown = visible(rows, outcome)

        assert sorted(shown, key=str) == sorted(
            [row for row in rows if row["version"] >= max(merged, default=-1)], key=str
        )


def test_a_new_generation_of_topics_remembers_nothing() -> None:
    """Its merger begins with empty rows: the same event id is new there."""
    world = Merged()
    event = an_event(0, idempotent=True, event_id=an_event_id(0, idempotent=True), data={"a": 1})
    world.append(a_record(0, event))
    row = world.events_of("r1")[0]
    later = {**row, "version": 2 << 48, "log_offset": 2 << 48}

    found = outcomes(map(logged, [row, later]), [])

    assert [one.outcome for one in found.values()] == [EventOutcome.MERGED, EventOutcome.MERGED]
