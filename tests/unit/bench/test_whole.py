"""What the benchmark of the whole stack makes of what it saw."""

from itertools import islice

import orjson
import pytest

from bench.stages import Size
from bench.whole.bodies import EVENTS, cycle, probe_lines, probes
from bench.whole.load import Probed, Seen
from bench.whole.phase import Phase, ends
from bench.whole.stage import fresh, sustained
from schemas.identity import event_key, partition_of


def a_phase(*, lag: float = 1.0, every: float = 0.1, bodies: int = 400) -> Phase:
    """Return a load of 10 bodies a second, each of them visible after the same time."""
    times = [number * every for number in range(bodies)]
    probed = [Probed(number, at, at + lag) for number, at in enumerate(times)]
    return Phase(Seen(acknowledged=times, probed=probed), {"sink": 2.0}, times[-1] + lag)


def test_bodies_never_repeat_a_request_of_another_cycle() -> None:
    """Else the table would stop to grow."""
    bodies = [*islice(cycle(bodies=2), 4)]
    ids = [{orjson.loads(line)["request_id"] for line in body.splitlines()} for body in bodies]

    assert [len(body.splitlines()) for body in bodies] == [EVENTS] * 4
    assert not (ids[0] | ids[1]) & (ids[2] | ids[3])


def test_a_probe_has_an_event_in_each_partition() -> None:
    """What is visible in one partition says nothing of another."""
    names = probes(7, 4)

    assert sorted(names) == [0, 1, 2, 3]
    for line in probe_lines(names).strip().splitlines():
        request_id = orjson.loads(line)["request_id"]
        place = partition_of(event_key("default", request_id), 4)
        assert names[place].decode() == request_id


def test_the_rate_is_that_of_what_becomes_visible() -> None:
    """What was acknowledged and is not visible yet does not count."""
    assert a_phase().rate(warm=3.0) == pytest.approx(10 * EVENTS, rel=0.02)
    assert a_phase(lag=50.0).rate(warm=3.0) == 0


def test_a_lag_that_grows_does_not_count_as_flat() -> None:
    """Its end is held against its begin."""
    growing = [(float(at), float(at)) for at in range(100)]

    first, last = ends(growing)

    assert last > 2 * first


def test_a_slow_stack_misses_its_targets() -> None:
    """Five thousand events a second, visible after two seconds."""
    phase = a_phase(lag=2.0)

    sustained_target, lag = sustained(phase, Size(quick=True, rounds=1))
    middle, slowest, _, _ = fresh(phase)

    assert (sustained_target.met, lag.met, middle.met, slowest.met) == (False, True, False, True)
