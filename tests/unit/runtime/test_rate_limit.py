"""Token buckets."""

from services.runtime.core.quota import RateLimiter


def test_no_rate_is_no_limit() -> None:
    """Zero lets everything through."""
    rates = RateLimiter(0)

    assert all(rates.take("t", 1000, now=0.0) == 0 for _ in range(1000))


def test_a_burst_of_ten_seconds_then_the_rate() -> None:
    """After the burst, one event each tenth of a second at ten a second."""
    rates = RateLimiter(10)

    assert [rates.take("t", 1, now=5.0) for _ in range(100)] == [0.0] * 100
    wait = rates.take("t", 1, now=5.0)
    assert 0 < wait <= 0.1
    assert rates.take("t", 1, now=5.001 + wait) == 0


def test_a_batch_larger_than_a_burst_gets_through_and_is_paid_for() -> None:
    """On average the rate holds."""
    rates = RateLimiter(10)

    assert rates.take("t", 300, now=0.0) == 0
    assert rates.take("t", 1, now=10.0) > 9
    assert rates.take("t", 1, now=20.1) == 0


def test_tenants_do_not_share_a_bucket() -> None:
    """One's burst leaves the other's whole."""
    rates = RateLimiter(1)
    rates.take("a", 10, now=0.0)

    assert rates.take("a", 1, now=0.0) > 0
    assert rates.take("b", 10, now=0.0) == 0


def test_a_rate_below_one_event_a_burst_still_lets_events_through() -> None:
    """One event in a hundred seconds is a rate as well."""
    rates = RateLimiter(0.01)

    assert rates.take("t", 1, now=0.0) == 0
    assert rates.take("t", 1, now=1.0) > 0
    assert rates.take("t", 1, now=200.0) == 0
