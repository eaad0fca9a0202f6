"""What every plan of faults is, whatever its seed."""

from collections import Counter
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from chaos.faults import KINDS, LONG, Kind, Phase, Wave, pairs, plan, plans, short_plan

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(0, 300)


def struck(waves: list[Wave]) -> Counter[tuple[str, str]]:
    """Return how often each kind strikes each target."""
    return Counter((fault.fault, fault.target) for fault in chain.from_iterable(waves))


@given(seeds, counts)
def test_every_kind_strikes_every_target_and_there_are_as_many_as_asked_for(seed: int, count: int) -> None:
    """However few are asked for."""
    phases = plans(seed, count)
    found = struck(list(chain.from_iterable(phases.values())))

    for phase, waves in phases.items():
        assert set(struck(waves)) == {(kind.name, target) for kind, target in pairs(phase=phase)}
    assert set(phases) == set(Phase)
    assert found.total() >= count
    assert found.total() <= count + sum(len(pairs(phase=phase)) for phase in Phase) + len(LONG)


@given(seeds, st.sets(st.sampled_from(sorted(pairs()))))
def test_chosen_kinds_alone_are_struck(seed: int, chosen: set[tuple[Kind, str]]) -> None:
    """And a phase that has none of them does not happen."""
    kinds = [kind for kind in KINDS if kind in {kind for kind, _ in chosen}]
    phases = plans(seed, 10, kinds)

    assert all(waves for waves in phases.values())
    assert {fault.fault for waves in phases.values() for wave in waves for fault in wave} == {
        kind.name for kind in kinds
    }


@given(seeds, counts)
def test_faults_that_would_hinder_each_other_strike_apart(seed: int, count: int) -> None:
    """A stack cannot start while a disk of its servers is full."""
    for wave in chain.from_iterable(plans(seed, count).values()):
        names = {str(fault) for fault in wave}
        assert not names >= {"kill supervisor", "disk full kafka"}
        assert not names >= {"restore warehouse", "read-only warehouse"}


@given(seeds, counts)
def test_faults_that_need_an_operator_strike_alone(seed: int, count: int) -> None:
    """So that its refusal and its losses are its own."""
    assert {len(wave) for wave in plans(seed, count)[Phase.OPERATED]} == {1}


@given(seeds, counts)
def test_a_seed_always_gives_the_same_plan(seed: int, count: int) -> None:
    """A run can be repeated."""
    assert plans(seed, count) == plans(seed, count)


@given(seeds)
def test_faults_last_as_long_as_their_kind_requires(seed: int) -> None:
    """So that a process that is stopped, for one, is given up by its group meanwhile."""
    seconds = {(kind.name, target): kind.seconds for kind, target in pairs()}

    for fault in chain.from_iterable(chain.from_iterable(plans(seed).values())):
        low, high = seconds[fault.fault, fault.target]
        assert low <= fault.seconds <= high
        assert fault.after >= 0


@given(seeds)
def test_some_faults_strike_while_others_are_recovered_from(seed: int) -> None:
    """Every long one has company, which does not end it, and among the others many come together."""
    waves = plan(seed)
    long = [wave for wave in waves if wave[0].fault in LONG]

    assert sum(len(wave) > 1 for wave in waves) >= 5
    assert [wave for wave in long if len(wave) < 4] == []
    for wave in long:
        assert {fault.target for fault in wave[1:]}.isdisjoint({"warehouse", "supervisor"})
        assert sum(fault.after for fault in wave) <= wave[0].seconds


@given(seeds, st.integers(3, 8))
def test_a_short_plan_kills_and_freezes_and_is_quick(seed: int, count: int) -> None:
    """The rest comes from the kinds that cost little time."""
    found = struck(short_plan(seed, count))
    quick = {(kind.name, target) for kind in KINDS if kind.quick for target in kind.targets}

    assert found.total() == count
    assert set(found) <= quick
    assert {"kill", "freeze"} <= {fault for fault, _ in found}
