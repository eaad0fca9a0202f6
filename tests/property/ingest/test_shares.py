"""Who may hold how much: laws of shares, whatever tenants do in whatever order."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.core.quota import TIMES_FREE, Shares

LIMIT = 10_000
TENANTS = st.sampled_from("abcdef")
ACTS = st.lists(st.tuples(TENANTS, st.integers(1, 3_000), st.booleans()), max_size=60)


def played(acts: list[tuple[str, int, bool]], shares: Shares) -> dict[str, list[int]]:
    """Let tenants take, and give back what they took first; return what each still has."""
    has: dict[str, list[int]] = {}
    for tenant, count, gives in acts:
        mine = has.setdefault(tenant, [])
        if gives and mine:
            shares.give(tenant, mine.pop(0))
        elif not gives and shares.take(tenant, count):
            mine.append(count)
    return has


@given(ACTS)
def test_no_more_is_held_than_there_is_and_what_is_given_back_is_free(
    acts: list[tuple[str, int, bool]],
) -> None:
    """Counted as a plain sum, tenant by tenant; nobody who holds nothing is remembered."""
    shares = Shares(LIMIT)
    has = played(acts, shares)

    assert shares.used == sum(map(sum, has.values())) <= LIMIT
    assert all(shares.held(tenant) == sum(mine) for tenant, mine in has.items())
    assert shares.tenants == sum(bool(mine) for mine in has.values())
    for tenant, mine in has.items():
        for count in mine:
            shares.give(tenant, count)
    assert (shares.used, shares.tenants) == (0, 0)


@given(ACTS, TENANTS, TENANTS, st.integers(1, 3_000))
def test_who_holds_more_is_refused_first(
    acts: list[tuple[str, int, bool]], one: str, other: str, count: int
) -> None:
    """What is given to who holds more would have been given to who holds less."""
    shares = Shares(LIMIT)
    played(acts, shares)
    more, less = sorted((one, other), key=shares.held, reverse=True)
    before = shares.held(less)
    if shares.take(more, count):
        shares.give(more, count)
        assert shares.take(less, count)
    else:
        assert shares.held(less) == before


@settings(max_examples=40)
@given(st.integers(1, 6), st.sampled_from([50, 100, 200]), st.integers())
def test_tenants_that_want_everything_come_to_hold_the_same(tenants: int, size: int, seed: int) -> None:
    """Whoever was there first; and some is left for one that comes next."""
    shares, chance = Shares(LIMIT), random.Random(seed)
    names = [f"t{number}" for number in range(tenants)]
    held = [names[0] for _ in range(LIMIT // size) if shares.take(names[0], size)]
    for _ in range(4 * LIMIT // size):
        shares.give(held.pop(0), size)  # the log answers in order
        for name in chance.sample(names, tenants):
            held += [name] * shares.take(name, size)
    fair = LIMIT * TIMES_FREE / (1 + TIMES_FREE * tenants)
    slack = (TIMES_FREE + 1) * tenants * size

    assert all(abs(shares.held(name) - fair) <= slack for name in names)
    assert LIMIT - shares.used >= fair / TIMES_FREE - slack


@given(st.integers(1, 4 * LIMIT))
def test_what_is_alone_is_taken_whatever_its_size(size: int) -> None:
    """And grows as it likes, until somebody else comes."""
    shares = Shares(LIMIT)

    assert shares.take_more("a", size, 0)
    assert shares.take_more("a", size, size)
    assert not shares.take_more("b", LIMIT, 0)
    assert shares.held("a") == 2 * size


def test_one_greedy_tenant_leaves_a_fifth() -> None:
    """The others are served at once, however often it asks."""
    shares = Shares(LIMIT)
    for _ in range(LIMIT):
        shares.take("greedy", 10)

    assert shares.held("greedy") == LIMIT * TIMES_FREE // (1 + TIMES_FREE)
    assert all(shares.take(f"small-{number}", 10) for number in range(100))
    assert not shares.take("greedy", 10)
