"""Which parts there are, and in which order they start and stop."""

from services.local.core.plan import GRACE_SECONDS, STOP_SECONDS, grace, parts, stop_order

PARTS = parts({"ingest": 2, "merger": 3})
STOP_ORDER = stop_order(reversed([part.name for part in PARTS]))


def test_every_need_is_a_part_that_is_listed_before() -> None:
    """Parts are in an order in which they can start one after the other."""
    seen: set[str] = set()
    for part in PARTS:
        assert set(part.needs) <= seen
        seen.add(part.name)


def test_every_part_stops_before_what_it_needs() -> None:
    """Nobody loses a server while it still hands on what it holds."""
    assert sorted(STOP_ORDER) == sorted(part.name for part in PARTS)
    tasks = {part.name for part in PARTS if part.once}
    for part in PARTS:
        for need in set(part.needs) - tasks:
            assert STOP_ORDER.index(part.name) < STOP_ORDER.index(need)


def test_services_stop_in_the_order_of_the_flow() -> None:
    """What ingest wrote last can still be merged, and what was merged last stored."""
    assert stop_order(part.name for part in PARTS) == [
        *("migrate", "ingest", "ingest-2", "merger", "merger-2", "merger-3"),
        *("sink", "query", "warehouse", "kafka"),
    ]


def test_there_is_one_of_each_unless_more_are_asked_for() -> None:
    """With the names that their logs and process ids have."""
    assert [part.name for part in parts({})] == [
        *("kafka", "warehouse", "migrate", "ingest", "merger", "sink", "query")
    ]
    assert [part.name for part in parts({"sink": 2})][-3:] == ["sink", "sink-2", "query"]


def test_a_part_may_take_its_whole_grace_when_there_is_time() -> None:
    """The common case: nobody hangs."""
    assert grace(STOP_SECONDS, after=6) == GRACE_SECONDS


def test_parts_that_all_hang_are_all_killed_within_twenty_seconds() -> None:
    """The sum of what hanging parts get stays below the promise, and each gets something."""
    left, given = STOP_SECONDS, []
    for index in range(len(STOP_ORDER)):
        seconds = grace(left, after=len(STOP_ORDER) - index - 1)
        given.append(seconds)
        left -= seconds

    assert min(given) >= 1
    assert sum(given) <= 19
