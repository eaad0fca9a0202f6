"""Every kind of anomaly, planted in a small world without a fault, is found and named."""

from collections.abc import Callable
from typing import Any

import pytest

from chaos.judge import Kind, Where
from tests.support.chaos.small_world import World, a_world, the_log
from tests.support.merger.records import a_record, an_event

R1, R2, R4 = b"default/r1", b"default/r2", b"default/r4"


def _found(world: World) -> set[tuple[Kind, Where]]:
    return set(world.verdict().counts)


def test_a_world_without_a_fault_is_clean() -> None:
    """Merges, a retract, an erase, repeats, a conflict, poison and a replay."""
    verdict = a_world().verdict()

    assert verdict.is_clean, verdict
    assert (verdict.acknowledged, verdict.events, verdict.rows, verdict.dead_letters) == (11, 13, 4, 2)


def _again(world: World, source: int, *, at: int | None = None) -> None:
    """Append a record of the log once more, with everything that comes of it done right."""
    log = the_log()
    record = log[source]._replace(offset=len(log))
    grown = a_world([*log, record])
    grown.ledger = world.ledger
    vars(world).update(vars(grown))


def _without_event(world: World) -> None:
    """The log ends before an event that was acknowledged, and everything agrees with the log."""
    vars(world).update({**vars(a_world(the_log()[:11])), "ledger": world.ledger})


def _elsewhere(world: World) -> None:
    line = next(line for line in world.ledger if line["version"] == "11")
    line["version"] = "4711"


def _other_body(world: World) -> None:
    world.ledger[0]["data"] = {"rating": 4, "tags": ["a"]}


def _other_source(world: World) -> None:
    world.ledger[0]["source"] = "gptboost"


def _nobody_sent_it(world: World) -> None:
    del world.ledger[0]


def _it_was_refused(world: World) -> None:
    world.ledger[0] |= {"outcome": "refused", "event_id": None, "version": None}


def _unexplained_poison(world: World) -> None:
    world.poison = [line for line in world.poison if line["offset"] != 9]


def _hole(world: World) -> None:
    log = [
        record._replace(offset=record.offset + 1) if record.offset >= 11 else record for record in the_log()
    ]
    log = [record for record in log if record.offset <= 12]
    grown = a_world(log)
    vars(world).update(vars(grown))


LOG: dict[str, tuple[Callable[[World], None], Kind]] = {
    "an acknowledged event is gone": (_without_event, Kind.LOST),
    "offsets are missing": (_hole, Kind.LOST),
    "an event stands twice": (lambda world: _again(world, 11), Kind.DUPLICATED),
    "an event stands at another version": (_elsewhere, Kind.WRONG),
    "an event has another body": (_other_body, Kind.WRONG),
    "an event has another source": (_other_source, Kind.WRONG),
    "nobody sent an event": (_nobody_sent_it, Kind.INVENTED),
    "an event was refused": (_it_was_refused, Kind.INVENTED),
    "no fault wrote what is no event": (_unexplained_poison, Kind.INVENTED),
}


@pytest.mark.parametrize("name", LOG)
def test_the_log_is_held_to_the_ledgers(name: str) -> None:
    """Everything behind the log agrees with it, so nothing else is amiss."""
    plant, kind = LOG[name]
    world = a_world()
    plant(world)

    assert _found(world) == {(kind, Where.LOG)}


@pytest.mark.parametrize("there", [True, False])
def test_an_unknown_outcome_may_be_either(there: bool) -> None:  # noqa: FBT001 (a parameter of pytest's)
    """A 503 is no promise: the event is there, or it is not."""
    world = a_world(the_log() if there else the_log()[:11])
    line = next((line for line in world.ledger if line["version"] == "11"), None)
    unknown = {**a_world().ledger[-1], "outcome": "unknown", "event_id": None, "version": None}
    world.ledger = [one for one in world.ledger if one is not line] + [unknown]

    assert world.verdict().is_clean


def test_an_unknown_outcome_explains_one_event_and_not_two() -> None:
    """At most once."""
    record = a_record(13, an_event(11, request_id="r2", data={"b": True}))
    world = a_world([*the_log(), record])
    line = next(line for line in world.ledger if line["version"] == "11")
    world.ledger = [one for one in world.ledger if one["version"] not in ("11", "13")]
    world.ledger.append({**line, "outcome": "unknown", "event_id": None, "version": None})

    assert _found(world) == {(Kind.INVENTED, Where.LOG)}


def test_a_retry_under_its_key_may_be_in_the_log_twice() -> None:
    """The first try landed though its answer was lost; the second was acknowledged at its own version."""
    world = a_world()
    lines = [line for line in world.ledger if line["request_id"] == "r4" and line["data"] == {"a": 1}]
    lines[0] |= {"outcome": "unknown", "event_id": None, "version": None}

    assert len(lines) == 2
    assert world.verdict().is_clean


def test_an_acknowledgement_without_a_version_is_met_anywhere() -> None:
    """Kafka did not say where the event landed; it must be there all the same."""
    there, gone = a_world(), a_world(the_log()[:11])
    there.ledger[-1]["version"] = None
    gone.ledger.append({**a_world().ledger[-1], "version": None})

    assert there.verdict().is_clean
    assert _found(gone) == {(Kind.LOST, Where.LOG)}


def _state_gone(world: World) -> None:
    world.states = [state for state in world.states if state.key != R2]
    world.store.stored.pop(R2)


def _state_behind(world: World) -> None:
    """The newest state of a key never came; the store agrees with the topic."""
    last = max(at for at, one in enumerate(world.states) if one.key == R2)
    gone = world.states.pop(last)
    before = [state for state in world.states if state.key == gone.key][-1]
    world.store.stored[R2] = before.value or b""


def _state_wrong(world: World) -> None:
    _change(world, lambda value: value.replace(b'"b":true', b'"b":false'))


def _state_of_other_versions(world: World) -> None:
    _change(world, lambda value: value.replace(b'"newest":11', b'"newest":10'))


def _change(world: World, change: Callable[[bytes], bytes]) -> None:
    at = max(at for at, one in enumerate(world.states) if one.key == R2)
    changed = change(world.states[at].value or b"")
    assert changed != world.states[at].value
    world.states[at] = world.states[at]._replace(value=changed)
    world.store.stored[R2] = changed


def _append(world: World, key: bytes, value: bytes) -> None:
    world.states.append(world.states[-1]._replace(offset=len(world.states), key=key, value=value))
    world.store.stored[key] = value
    world.store.position = len(world.states)
    world.rows = [
        row._replace(revision=world.states[-1].offset) if row.request_id == key[8:].decode() else row
        for row in world.rows
    ]


def _state_twice(world: World) -> None:
    _append(world, R2, world.store.stored[R2])


def _state_back_for_a_while(world: World) -> None:
    """A zombie's row comes late, and the owner's next one puts it right."""
    first = next(state for state in world.states if state.key == R1)
    right = world.store.stored[R1]
    _append(world, R1, first.value or b"")
    _append(world, R1, right)


def _state_invented(world: World) -> None:
    _append(world, b"default/r9", world.store.stored[R2])


def _no_state(world: World) -> None:
    _append(world, R2, b"[]")
    world.states.append(
        world.states[0]._replace(offset=len(world.states), key=R2, value=a_world().store.stored[R2])
    )


STATE: dict[str, tuple[Callable[[World], None], set[Kind]]] = {
    "no state of a key": (_state_gone, {Kind.LOST}),
    "the newest state is missing": (_state_behind, {Kind.LOST}),
    "a wrong value": (_state_wrong, {Kind.WRONG}),
    "a field's wrong version": (_state_of_other_versions, {Kind.WRONG}),
    "a state twice": (_state_twice, {Kind.DUPLICATED}),
    "a step back": (_state_back_for_a_while, {Kind.REGRESSED}),
    "a key that the log has not": (_state_invented, {Kind.INVENTED}),
    "no state at all": (_no_state, {Kind.WRONG, Kind.DUPLICATED}),
}


@pytest.mark.parametrize("name", STATE)
def test_the_state_topic_is_held_to_the_log(name: str) -> None:
    """What is amiss there is named there."""
    plant, kinds = STATE[name]
    world = a_world()
    plant(world)

    assert {kind for kind, where in _found(world) if where is Where.STATE} == kinds


def _set(world: World, key: bytes, value: bytes) -> None:
    world.store.stored[key] = value


STORE: dict[str, tuple[Callable[[World], Any], Kind]] = {
    "a row is missing": (lambda world: world.store.stored.pop(R1), Kind.LOST),
    "a row has another value": (lambda world: _set(world, R1, b"{}"), Kind.WRONG),
    "a row too many": (lambda world: _set(world, b"default/r9", b"{}"), Kind.INVENTED),
    "ahead of the topic": (lambda world: setattr(world.store, "position", 99), Kind.WRONG),
}


@pytest.mark.parametrize("name", STORE)
def test_a_store_is_held_to_the_state_topic(name: str) -> None:
    """At the position that it names."""
    plant, kind = STORE[name]
    world = a_world()
    plant(world)

    assert _found(world) == {(kind, Where.STORE)}


def test_a_store_may_be_behind() -> None:
    """A kill takes back what was not flushed; rows and position go back together."""
    world = a_world()
    world.store.position = 2
    world.store.stored = {state.key or b"": state.value or b"" for state in world.states[:2]}

    verdict = world.verdict()

    assert verdict.is_clean
    assert verdict.notes == ["no store of partition 0 reaches the end of its states"]


def _first_row(world: World, **changes: Any) -> None:
    at = next(at for at, row in enumerate(world.rows) if row.request_id == "r1")
    world.rows[at] = world.rows[at]._replace(**changes)


ROW: dict[str, tuple[Callable[[World], Any], Kind]] = {
    "no row": (lambda world: world.rows.pop(0), Kind.LOST),
    "an old row": (lambda world: _first_row(world, version=1), Kind.LOST),
    "a wrong value": (lambda world: _first_row(world, data='{"rating":3}'), Kind.WRONG),
    "a wrong time": (lambda world: _first_row(world, last=1), Kind.WRONG),
    "a wrong source": (lambda world: _first_row(world, sources=["native"]), Kind.WRONG),
    "a wrong revision": (lambda world: _first_row(world, revision=0), Kind.WRONG),
    "two rows": (lambda world: world.rows.append(world.rows[0]), Kind.DUPLICATED),
    "an erased row": (
        lambda world: world.rows.append(world.rows[0]._replace(request_id="r3")),
        Kind.INVENTED,
    ),
}


@pytest.mark.parametrize("name", ROW)
def test_rows_are_held_to_the_log(name: str) -> None:
    """`feedback_state FINAL`."""
    plant, kind = ROW[name]
    world = a_world()
    plant(world)

    assert _found(world) == {(kind, Where.ROW)}


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lambda world: world.view.pop(), Kind.LOST),
        (lambda world: world.view.append(("default", "r3", 5)), Kind.INVENTED),
        (lambda world: world.view.append(world.view[0]), Kind.DUPLICATED),
    ],
    ids=["missing", "erased", "twice"],
)
def test_the_view_shows_the_same_rows(plant: Callable[[World], Any], kind: Kind) -> None:
    """`feedback`, which hides what was erased."""
    world = a_world()
    plant(world)

    assert _found(world) == {(kind, Where.VIEW)}


def _event_changed(world: World, **changes: Any) -> None:
    world.stored_events[0] = world.stored_events[0]._replace(**changes)


EVENTS: dict[str, tuple[Callable[[World], Any], set[Kind]]] = {
    "missing": (lambda world: world.stored_events.pop(0), {Kind.LOST}),
    "changed": (lambda world: _event_changed(world, data='{"rating":6}'), {Kind.WRONG}),
    "another item": (lambda world: _event_changed(world, item_id="s-2"), {Kind.WRONG}),
    "another time": (lambda world: _event_changed(world, at=1), {Kind.WRONG}),
    "at another version": (lambda world: _event_changed(world, version=77), {Kind.INVENTED, Kind.LOST}),
    "twice": (lambda world: world.stored_events.append(world.stored_events[0]), {Kind.DUPLICATED}),
}


@pytest.mark.parametrize("name", EVENTS)
def test_stored_events_are_held_to_the_log(name: str) -> None:
    """Each at its version, and nothing else."""
    plant, kinds = EVENTS[name]
    world = a_world()
    plant(world)

    assert _found(world) == {(kind, Where.EVENTS) for kind in kinds}


def test_events_that_were_erased_need_not_be_stored() -> None:
    """An erasure deletes them; until then they may stand there."""
    world = a_world()
    world.stored_events = [row for row in world.stored_events if row.request_id != "r3"]

    assert world.verdict().is_clean


def _letter_again(world: World) -> None:
    world.letters.append(world.letters[0]._replace(offset=len(world.letters)))
    world.stored_letters.append(world.stored_letters[0]._replace(dlq_offset=len(world.letters) - 1))


def _letter_gone(world: World) -> None:
    world.letters.pop(0)
    world.stored_letters.pop(0)


def _letter_of_a_good_event(world: World) -> None:
    headers = tuple(
        (name, b"10" if name == "afterword-original-offset" else value)
        for name, value in world.letters[0].headers
    )
    world.letters.append(world.letters[0]._replace(offset=2, headers=headers))
    world.stored_letters.append(world.stored_letters[0]._replace(dlq_offset=2, original_offset=10))


def _letter_with_other_bytes(world: World) -> None:
    world.letters[0] = world.letters[0]._replace(value=b"x")
    world.stored_letters[0] = world.stored_letters[0]._replace(raw=b"x".hex())


def _letter_of_other_reason(world: World) -> None:
    headers = tuple(
        (name, b"row_too_large" if name == "afterword-reason" else value)
        for name, value in world.letters[0].headers
    )
    world.letters[0] = world.letters[0]._replace(headers=headers)
    world.stored_letters[0] = world.stored_letters[0]._replace(reason="row_too_large")


LETTERS: dict[str, tuple[Callable[[World], Any], Kind]] = {
    "twice": (_letter_again, Kind.DUPLICATED),
    "missing": (_letter_gone, Kind.LOST),
    "of an event that can be merged": (_letter_of_a_good_event, Kind.INVENTED),
    "with other bytes": (_letter_with_other_bytes, Kind.WRONG),
    "with another reason": (_letter_of_other_reason, Kind.WRONG),
}


@pytest.mark.parametrize("name", LETTERS)
def test_dead_letters_are_held_to_the_log(name: str) -> None:
    """One for each record that cannot be merged; their table agrees with their topic."""
    plant, kind = LETTERS[name]
    world = a_world()
    plant(world)

    assert _found(world) == {(kind, Where.LETTERS_TOPIC)}


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lambda world: world.stored_letters.pop(), Kind.LOST),
        (lambda world: world.stored_letters.append(world.stored_letters[0]), Kind.DUPLICATED),
        (
            lambda world: world.stored_letters.append(world.stored_letters[0]._replace(dlq_offset=9)),
            Kind.INVENTED,
        ),
        (
            lambda world: world.stored_letters.insert(0, world.stored_letters.pop(0)._replace(raw="00")),
            Kind.WRONG,
        ),
    ],
    ids=["missing", "twice", "invented", "changed"],
)
def test_the_table_of_dead_letters_is_held_to_their_topic(plant: Callable[[World], Any], kind: Kind) -> None:
    """Byte for byte."""
    world = a_world()
    plant(world)

    assert _found(world) == {(kind, Where.LETTERS)}


def test_an_event_dead_lettered_as_crashed_is_lost() -> None:
    """Unless a fault wrote it: somebody was promised that it would be merged."""
    log = the_log()[:10]
    world = a_world(log)
    headers = tuple(
        (name, {"afterword-original-offset": b"2", "afterword-reason": b"crashed"}.get(name, value))
        for name, value in world.letters[0].headers
    )
    world.letters.append(log[2]._replace(offset=2, headers=headers))

    assert (Kind.LOST, Where.STATE) in _found(world)


def test_examples_are_few_and_counts_are_whole() -> None:
    """A broken stack has thousands of findings, and one report."""
    world = a_world()
    world.ledger += [
        {**world.ledger[0], "event_id": an_event(number)["event_id"], "version": "99"}
        for number in range(100, 600)
    ]
    verdict = world.verdict()

    assert verdict.lost == 500
    assert len(verdict.findings) < 50
    assert "500 lost" in str(verdict)
