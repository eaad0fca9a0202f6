"""What is to be done next, and who does it; names that an erasure makes up."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.erasure.core.erasures import (
    MOST_ROUNDS,
    ErasureFacts,
    ErasureRecord,
    ErasureState,
    ErasureStep,
    RequestedBy,
    event_id,
    next_step,
    prefix,
    user_hash,
)
from services.erasure.run import complaint
from tests.support.operations.erasure_in_memory import AT, ID, an_erasure

DONE: dict[str, Any] = {
    "by_user": True,
    "missing": 0,
    "given_up": 0,
    "remaining": {"events": 0},
    "standing": 0,
}


@pytest.mark.parametrize(
    ("rounds", "changes", "step"),
    [
        (0, {"missing": 1, "remaining": {"events": 1}}, ErasureStep.PUBLISH),
        (MOST_ROUNDS, {"missing": 1}, ErasureStep.CERTIFY),
        (MOST_ROUNDS, {"missing": 1, "by_user": False}, ErasureStep.COMPLAIN),
        (1, {"remaining": {"events": 0, "letters": 1}}, ErasureStep.DELETE),
        (1, {"given_up": 1, "missing": 1}, ErasureStep.COMPLAIN),
        (1, {"standing": 1}, ErasureStep.COMPLAIN),
        (1, {}, ErasureStep.CERTIFY),
    ],
)
def test_the_next_step_follows_from_what_the_servers_have(
    rounds: int, changes: dict[str, Any], step: ErasureStep
) -> None:
    """First whatever is missing, then what is left; nothing is certified before all is gone."""
    assert next_step(rounds, ErasureFacts(**{**DONE, **changes})) is step


def test_a_complaint_explains_what_to_do() -> None:
    """Whatever stands in the way."""
    assert "afterword dlq list" in complaint(ErasureFacts(**{**DONE, "given_up": 1}))
    for changes in ({"standing": 1}, {"missing": 2}, {}):
        assert complaint(ErasureFacts(**{**DONE, **changes}))


def test_the_sink_takes_up_erasures_that_are_not_in_progress() -> None:
    """At once what HTTP asked for; a command's once that has been silent; a problem not at once again."""
    soon, later = AT + timedelta(seconds=1), AT + timedelta(minutes=2)
    by_command = replace(an_erasure(), asked_by=RequestedBy.COMMAND)
    stuck = replace(an_erasure(), problem="the merger does not run")

    assert an_erasure().is_due(soon)
    assert [by_command.is_due(soon), by_command.is_due(later)] == [False, True]
    assert [stuck.is_due(soon), stuck.is_due(later)] == [False, True]
    assert not replace(an_erasure(), state=ErasureState.VERIFIED).is_due(later)
    assert not replace(by_command, updated=later).is_due(later)


def test_an_erasure_survives_its_row() -> None:
    """What is written is what is read."""
    one = replace(
        an_erasure().counted(["r1", "r1", "r2"], {"feedback": 2}), certificate={"left": {}}, updated=AT
    )
    row = orjson.loads(orjson.dumps({**one.row(), "updated": AT}))

    assert ErasureRecord.of(row) == one
    assert one.request_ids == ("r1", "r2")
    assert one.counted(["r2", "r3"], {"feedback": 1}).found == {"feedback": 3}


def test_event_ids_are_made_again_and_are_of_one_erasure() -> None:
    """A UUIDv8, the same for the same request, with a beginning that other erasures do not have."""
    ids = [event_id(ID, name) for name in ("r1", "r2", "")]

    assert event_id(ID, "r1") == ids[0]
    assert len({*ids}) == 3
    assert {str(one)[:18] for one in ids} == {prefix(ID)}
    assert prefix(UUID(int=8)) != prefix(ID)
    assert {(one.version, one.variant) for one in ids} == {(8, "specified in RFC 4122")}


def test_a_user_of_two_tenants_has_two_hashes() -> None:
    """Nobody can tell from them that it is the same person."""
    assert user_hash("acme", "u") != user_hash("other", "u")
    assert len(user_hash("acme", "ü")) == 32
