"""How many bytes tenants may hold: laws of quotas, whatever tenants do in whatever order."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.core.quota import TIMES_FREE, ByteQuota

LIMIT = 10_000
TENANTS = st.sampled_from("abcdef")
ACTS = st.lists(st.tuples(TENANTS, st.integers(1, 3_000), st.booleans()), max_size=60)


def played(acts: list[tuple[str, int, bool]], quota: ByteQuota) -> dict[str, list[int]]:
    """Let tenants take, and give back what they took first; return what each still has."""
    has: dict[str, list[int]] = {}
    for tenant, count, gives in acts:
        mine = has.setdefault(tenant, [])
        if gives and mine:
            quota.give(tenant, mine.pop(0))
        elif not gives and quota.take(tenant, count):
            mine.append(count)
    return has


@given(ACTS)
def test_no_more_is_held_than_there_is_and_what_is_given_back_is_free(
    acts: list[tuple[str, int, bool]],
) -> None:
    """Counted as a plain sum, tenant by tenant; nobody who holds nothing is remembered."""
    quota = ByteQuota(LIMIT)
    has = played(acts, quota)

    assert quota.used == sum(map(sum, has.values())) <= LIMIT
    assert all(quota.held(tenant) == sum(mine) for tenant, mine in has.items())
    assert quota.tenants == sum(bool(mine) for mine in has.values())
    for tenant, mine in has.items():
        for count in mine:
            quota.give(tenant, count)
    assert (quota.used, quota.tenants) == (0, 0)


@given(ACTS, TENANTS, TENANTS, st.integers(1, 3_000))
def test_who_holds_more_is_refused_first(
    acts: list[tuple[str, int, bool]], one: str, other: str, count: int
) -> None:
    """What is given to who holds more would have been given to who holds less."""
    quota = ByteQuota(LIMIT)
    played(acts, quota)
    more, less = sorted((one, other), key=quota.held, reverse=True)
    before = quota.held(less)
    if quota.take(more, count):
        quota.give(more, count)
        assert quota.take(less, count)
    else:
        assert quota.held(less) == before


@settings(max_examples=40)
@given(st.integers(1, 6), st.sampled_from([50, 100, 200]), st.integers())
def test_tenants_that_want_everything_end_up_holding_the_same(tenants: int, size: int, seed: int) -> None:
    """Whoever was there first; and some is left for one that comes next."""
    quota, chance = ByteQuota(LIMIT), random.Random(seed)
    names = [f"t{number}" for number in range(tenants)]
    held = [names[0] for _ in range(LIMIT // size) if quota.take(names[0], size)]
    for _ in range(4 * LIMIT // size):
        quota.give(held.pop(0), size)  # the log answers in order
        for name in chance.sample(names, tenants):
            held += [name] * quota.take(name, size)
    fair = LIMIT * TIMES_FREE / (1 + TIMES_FREE * tenants)
    slack = (TIMES_FREE + 1) * tenants * size

    assert all(abs(quota.held(name) - fair) <= slack for name in names)
    assert LIMIT - quota.used >= fair / TIMES_FREE - slack


@given(st.integers(1, 4 * LIMIT))
def test_what_is_alone_is_taken_whatever_its_size(size: int) -> None:
    """And grows as it likes, until somebody else comes."""
    quota = ByteQuota(LIMIT)

    assert quota.take_more("a", size, 0)
    assert quota.take_more("a", size, size)
    assert not quota.take_more("b", LIMIT, 0)
    assert quota.held("a") == 2 * size


def test_one_greedy_tenant_leaves_a_fifth() -> None:
    """The others are served at once, however often it asks."""
    quota = ByteQuota(LIMIT)
    for _ in range(LIMIT):
        quota.take("greedy", 10)

    assert quota.held("greedy") == LIMIT * TIMES_FREE // (1 + TIMES_FREE)
    assert all(quota.take(f"small-{number}", 10) for number in range(100))
    assert not quota.take("greedy", 10)
