"""What the writers send where an operator is needed, whatever the seed."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from chaos.additive import LATEST, Additive


@given(st.integers(0, 2**32 - 1))
def test_every_event_can_be_recognised_in_its_row(seed: int) -> None:
    """It has a field that no other event has, counts up, and comes before its request is erased."""
    writers = [Additive(number, Random(f"{seed} {number}")) for number in range(2)]
    owner: dict[str, int] = {}
    erased, marks, latest = set[str](), Counter[tuple[str, str]](), dict[str, int]()
    for number, writer in enumerate(writers):
        for post in (writer.next() for _ in range(300)):
            assert len({event.request_id for event in post.events}) == len(post.events)
            for event in post.events:
                assert owner.setdefault(event.request_id, number) == number
                assert event.request_id not in erased
                if event.op == "erase":
                    erased.add(event.request_id)
                    continue
                assert event.data is not None
                marks.update((event.request_id, name) for name in event.data if name != LATEST)
                assert event.data[LATEST] > latest.get(event.request_id, 0)
                latest[event.request_id] = event.data[LATEST]

    assert set(marks.values()) == {1}


def test_some_requests_are_erased_in_the_end() -> None:
    """So that a run shows that they do not come back."""
    writer = Additive(0, Random(1))
    events = [event for _ in range(1_000) for event in writer.next().events]

    assert sum(event.op == "erase" for event in events) > 5
