"""What a tenant is told to wait is true, and no more than its rate gets through."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.core.quota import BURST_SECONDS, REMEMBERED, RateLimiter

RATE = st.floats(0.001, 100_000)
CALLS = st.lists(st.tuples(st.floats(0, 1_000), st.integers(1, 100_000)), min_size=1, max_size=30)


@settings(max_examples=40)
@given(RATE, st.none() | RATE, CALLS, st.floats(0, 1e7))
def test_a_client_that_waits_as_long_as_named_is_admitted(
    rate: float, key_rate: float | None, calls: list[tuple[float, int]], start: float
) -> None:
    """In the whole seconds of Retry-After, whatever was sent before, with a limit of the key or without."""
    rates, now = RateLimiter(rate), start
    for pause, count in calls:
        now += pause
        wait = rates.take("t", count, now, key_id="k", key_rate=key_rate)
        if wait:
            now += int(wait) + 1
            assert rates.take("t", count, now, key_id="k", key_rate=key_rate) == 0


@settings(max_examples=40)
@given(RATE, CALLS)
def test_no_more_gets_through_than_the_rate_and_a_burst(rate: float, calls: list[tuple[float, int]]) -> None:
    """But for one last batch, which is paid for afterwards."""
    rates, now, passed = RateLimiter(rate), 0.0, []
    for pause, count in calls:
        now += pause
        if not rates.take("t", count, now):
            passed.append(count)

    assert sum(passed[:-1]) <= rate * (BURST_SECONDS + now) * (1 + 1e-9) + 1


@given(RATE, RATE, st.integers(1, 100))
def test_a_refusal_takes_nothing(rate: float, key_rate: float, count: int) -> None:
    """Of either bucket: what one lets through and the other does not is not paid for."""
    rates = RateLimiter(rate)
    rates.take("t", 10**7, 0, key_id="k", key_rate=key_rate)
    first = rates.take("t", count, 0, key_id="k", key_rate=key_rate)

    assert first > 0
    assert all(rates.take("t", count, 0, key_id="k", key_rate=key_rate) == first for _ in range(10))


def test_a_tenants_rate_in_the_file_counts_before_the_setting() -> None:
    """More, or less."""
    rates = RateLimiter(10)

    assert rates.take("more", 1000, 0, tenant_rate=1000) == 0
    assert rates.take("more", 1, 0, tenant_rate=1000) == 0
    assert rates.take("less", 1, 0, tenant_rate=0.1) == 0
    assert rates.take("less", 1, 0, tenant_rate=0.1) > 9


def test_a_key_has_its_limit_within_its_tenants() -> None:
    """Another key of the same tenant continues until the tenant's is used up."""
    rates = RateLimiter(10)

    assert rates.take("t", 10, 0, key_id="slow", key_rate=1) == 0
    assert rates.take("t", 1, 0, key_id="slow", key_rate=1) > 0
    assert rates.take("t", 90, 0) == 0
    assert rates.take("t", 1, 0) > 0


def test_buckets_that_are_full_again_are_forgotten() -> None:
    """However many tenants there have been."""
    rates = RateLimiter(1)
    for number in range(REMEMBERED + 100):
        rates.take(f"t{number}", 1, float(number))

    assert len(rates._buckets) <= REMEMBERED + 1
