"""Deleting and changing items by id, against a list from which the words of an item are crossed out."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Op
from services.ingest.dialects.dialect import PastEvent, Submission
from services.ingest.dialects.item_changes import RATER, items_with_id, stored_items

START = datetime(2026, 5, 1, tzinfo=UTC)
ITEMS = ("x", "y", "z")
NAMES = ("a", "b", "comment")


class Say(NamedTuple):
    """Values given, by an item or by none."""

    item_id: str
    data: dict[str, Any]


class Change(NamedTuple):
    """New values of an item; null withdraws one."""

    item_id: str
    data: dict[str, Any]


class Delete(NamedTuple):
    """An item that is deleted."""

    item_id: str


class Retract(NamedTuple):
    """All feedback that is taken back."""

    op: Op


Step = Say | Change | Delete | Retract

values = st.integers(0, 3)
raters = st.dictionaries(st.just(RATER), st.sampled_from(("ann", "bob")), max_size=1)


def _data(value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(NAMES), value, min_size=1)


said = st.one_of(
    st.builds(lambda item, data, by: Say(item, data | by), st.sampled_from(ITEMS), _data(values), raters),
    st.builds(lambda data, by: Say("", data | by), _data(st.none() | values), raters),
)
steps: st.SearchStrategy[Step] = st.one_of(
    said,
    said,
    st.builds(Change, st.sampled_from(ITEMS), _data(st.none() | values)),
    st.builds(Delete, st.sampled_from(ITEMS)),
    st.builds(Retract, st.sampled_from((Op.RETRACT, Op.ERASE))),
)


class Stored:
    """The events of a request, as they are stored and merged."""

    def __init__(self) -> None:
        self.events: list[PastEvent] = []

    def do(self, step: Step) -> list[Submission]:
        """Store what a step publishes, and return it."""
        published = list(self._published(step))
        for submission in published:
            self.append(submission)
        return published

    def append(self, submission: Submission) -> None:
        """Store an event."""
        count = len(self.events)
        at = datetime.fromisoformat(submission.at) if submission.at else None
        received_at, event_id = START + timedelta(seconds=count), f"e{count}"
        request_id, data, request, op, item_id, _ = submission
        values = (item_id, op, "s", received_at, at, data or {}, request or {})
        self.events.append(PastEvent("t", request_id, count, event_id, *values))

    def _published(self, step: Step) -> Iterable[Submission]:
        if isinstance(step, Say):
            return [Submission("r", step.data, item_id=step.item_id)]
        if isinstance(step, Retract):
            return [Submission("r", op=step.op)]
        found = items_with_id(self.events, step.item_id)
        if not found:
            return []
        return found[0].deleted() if isinstance(step, Delete) else found[0].changed(step.data)

    def row(self) -> dict[str, Any]:
        """Return the row: each key has its latest value."""
        row: dict[str, Any] = {}
        for event in self.events:
            if event.op is Op.MERGE:
                row.update(event.data)
            else:
                row.clear()
        return {name: value for name, value in row.items() if value is not None}


class Words:
    """The oracle: who gave which value to which key, in order."""

    def __init__(self) -> None:
        self.words: list[tuple[str, str, Any]] = []

    def do(self, step: Step) -> None:
        """Write words down, or cross them out."""
        if isinstance(step, Retract):
            self.words.clear()
        elif isinstance(step, Delete):
            self.words = [word for word in self.words if word[0] != step.item_id]
        else:
            own = {name for item_id, name, _ in self.words if item_id == step.item_id} - {RATER}
            if isinstance(step, Change) and not own:
                return
            for name, value in step.data.items():
                if value is None and step.item_id:
                    self.words = [word for word in self.words if word[:2] != (step.item_id, name)]
                else:
                    self.words.append((step.item_id, name, value))

    def row(self) -> dict[str, Any]:
        """Return the row of a history that never had what is crossed out."""
        row = {name: value for _, name, value in self.words}
        return {name: value for name, value in row.items() if value is not None}


def _without_rater(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != RATER}


@settings(max_examples=500)
@given(st.lists(steps, max_size=12))
def test_a_row_has_the_latest_words_that_still_count(history: list[Step]) -> None:
    """As if what was deleted or withdrawn had never been given, however often items were changed before."""
    stored, words = Stored(), Words()
    for step in history:
        stored.do(step)
        words.do(step)
        assert _without_rater(stored.row()) == _without_rater(words.row())
    counting = {item_id for item_id, name, _ in words.words if item_id and name != RATER}
    assert {item.first.item_id for item in stored_items(stored.events)} == counting


@settings(max_examples=500)
@given(st.lists(said, max_size=8), st.sampled_from(ITEMS))
def test_a_row_names_the_rater_of_the_latest_words(history: list[Step], item_id: str) -> None:
    """After an item is deleted, the row is that of a history without it, the rater included."""
    stored, words = Stored(), Words()
    for step in (*history, Delete(item_id)):
        stored.do(step)
        words.do(step)

    assert stored.row() == words.row()


@settings(max_examples=300)
@given(st.lists(steps, max_size=8), st.sampled_from(ITEMS))
def test_what_is_deleted_is_withdrawn_in_the_name_of_its_rater(history: list[Step], item_id: str) -> None:
    """The first event clears every word of the item; the others belong to those who gave the values."""
    stored = Stored()
    for step in history:
        stored.do(step)
    found = items_with_id(stored.events, item_id)
    published = stored.do(Delete(item_id))

    if found:
        (item,) = found
        expected = {name: value if name == RATER else None for name, value in item.data.items()}
        assert (published[0].data, published[0].item_id) == (expected, item_id)
        assert all(one.at for one in published[1:])
        assert stored.do(Delete(item_id)) == []
    else:
        assert published == []


def test_a_value_is_restated_with_its_rater_its_item_and_its_time() -> None:
    """It came before or after what is deleted."""
    stored = Stored()
    stored.append(Submission("r", {"a": 1, RATER: "ann"}, item_id="x", at="2026-04-01T00:00:00Z"))
    stored.append(Submission("r", {"a": 2, "comment": "no", RATER: "bob"}, item_id="y"))

    assert stored.do(Delete("y")) == [
        Submission("r", {"a": None, "comment": None, RATER: "bob"}, item_id="y"),
        Submission("r", {"a": 1, RATER: "ann"}, item_id="x", at="2026-04-01T00:00:00Z"),
    ]
    stored.append(Submission("r", {"a": 3}))
    received_at = stored.events[-1].received_at
    assert stored.do(Delete("x"))[1:] == [
        Submission("r", {"a": 3}, at=received_at.isoformat().replace("+00:00", "Z")),
        Submission("r", {RATER: None}, item_id="x", at="2026-04-01T00:00:00Z"),
    ]


def test_a_repeated_event_is_no_new_word() -> None:
    """The log may hold an idempotent event twice, and the row keeps the first."""
    stored = Stored()
    stored.append(Submission("r", {"a": 1}, item_id="x"))
    stored.append(Submission("r", {"a": 2}, item_id="y"))
    stored.append(Submission("r", {"a": 3}, item_id="z"))
    stored.events.append(stored.events[0]._replace(version=3))

    assert stored.do(Delete("z"))[1].data == {"a": 2}


def test_an_item_of_two_requests_is_found_in_both() -> None:
    """A client may use an id twice; each request has its own history."""
    stored = Stored()
    stored.append(Submission("r", {"a": 1}, item_id="x"))
    stored.append(Submission("s", {"a": 2}, item_id="x"))

    first, second = items_with_id(stored.events, "x")
    assert first.deleted() == [Submission("r", {"a": None}, item_id="x")]
    assert second.changed({"a": 3, "b": None}, "2026-04-01T00:00:00Z") == [
        Submission("s", {"a": 3}, item_id="x", at="2026-04-01T00:00:00Z")
    ]
    assert second.changed({"b": None}) == []
