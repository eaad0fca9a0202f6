"""A damaged row holds up the events of its own request, and no others."""

import orjson
import pytest

from schemas.deadletters import Reason
from services.merger.core.fold import Folded, counting, fold
from services.merger.core.state import Damaged, decode_of
from tests.support.merger.records import SOURCE, a_log, a_record, an_event

LOG = a_log(
    an_event(0, data={"a": 1}), an_event(1, request_id="r2", data={"a": 1}), an_event(2, request_id='é"')
)
GOOD = {key: row.value for key, row in fold(LOG, {}, SOURCE).rows.items()}
R1, R2, ODD = GOOD
BAD = {
    "garbage": b"garbage",
    "empty": b"",
    "cut off": GOOD[R1][:-3],
    "another request's": GOOD[R2],
    "a newer schema's": GOOD[R1].replace(b'"version":0', b'"version":{"generation":0,"offset":0}'),
    "of wrong types": GOOD[R1].replace(b'"request":{}', b'"request":[]'),
    "a list": b"[]",
}


def merged(damaged: bytes) -> Folded:
    """Merge events of two requests, of which the first one's row is damaged."""
    log = [
        a_record(10, an_event(10, data={"b": 2})),
        a_record(11, an_event(11, request_id="r2", data={"b": 2})),
        a_record(12, an_event(12, data={"c": 3}), replays=4),
    ]
    return fold(log, {R1: damaged, R2: GOOD[R2]}, SOURCE)


@pytest.mark.parametrize("damaged", BAD.values(), ids=BAD)
def test_the_others_continue_and_its_events_wait_with_their_place(damaged: bytes) -> None:
    """Each is a dead letter that names the command, and nothing of the row is touched."""
    out = merged(damaged)
    assert set(out.rows) == {R2}
    assert orjson.loads(out.rows[R2].value)["data"] == {"a": 1, "b": 2}
    assert [(letter.record.offset, letter.version, letter.reason) for letter in out.letters] == [
        (10, 10, Reason.DAMAGED_STATE),
        (12, 4, Reason.DAMAGED_STATE),
    ]
    assert all("`afterword rebuild --state`" in letter.detail for letter in out.letters)


def test_rows_of_any_name_are_their_own() -> None:
    """Also where JSON writes the name in another way than the key."""
    for key, value in GOOD.items():
        assert decode_of(key, value).version >= 0
    with pytest.raises(Damaged, match="another request"):
        decode_of(ODD, GOOD[R1])


def test_a_busy_request_counts_once_a_batch_and_many_damaged_rows_count_all() -> None:
    """One hot key stops no merger; a release that cannot read any row does."""
    letters = merged(b"garbage").letters
    assert len(letters) == 2
    assert len(list(counting(letters))) == 1
