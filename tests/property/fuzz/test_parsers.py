"""Every target of the fuzzer, for some hundred inputs: the long form is `make fuzz`."""

from itertools import islice
from random import Random

import pytest

from fuzz.parsers import TARGETS
from fuzz.seeds import SEEDS, inputs

INPUTS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_refusals_leave_a_parser(name: str) -> None:
    """Changed inputs are accepted and hold all the way, or are refused."""
    for data in islice(inputs(name, Random(name)), INPUTS):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_accepts_something(name: str) -> None:
    """A target that refuses everything tests nothing."""
    assert any(TARGETS[name](seed) for seed in SEEDS[name])
