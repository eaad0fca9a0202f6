"""Slots for exports, live pages and waiting readers: no tenant has all of them."""

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.fairness import NoSlot, TenantSlots, share_of

ACTS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60)


@given(st.integers(1, 12), ACTS)
def test_places_are_counted_and_one_tenant_has_its_share_at_most(
    total: int, acts: list[tuple[str, bool]]
) -> None:
    """All of them can be taken by several, and who leaves leaves nothing behind."""
    places, has = TenantSlots(total), dict.fromkeys("abc", 0)
    for tenant, leaves in acts:
        if leaves and has[tenant]:
            places.leave(tenant)
            has[tenant] -= 1
        elif not leaves:
            full = places.full(tenant)
            assert (full is NoSlot.ALL) == (sum(has.values()) == total)
            if full is None:
                places.take(tenant)
                has[tenant] += 1
            elif full is NoSlot.OWN:
                assert has[tenant] == share_of(total)
        assert max(has.values()) <= share_of(total)
        assert sum(has.values()) <= total
    for tenant, number in has.items():
        for _ in range(number):
            places.leave(tenant)
    assert not places._of


@given(st.integers(2, 1000))
def test_some_slots_remain_for_other_tenants(total: int) -> None:
    """Where there are two at all; and one tenant may have most of them."""
    assert total / 2 <= share_of(total) < total
