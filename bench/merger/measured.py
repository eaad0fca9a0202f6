"""What the rounds gave, and the figures that it makes.  Pure."""

from collections import defaultdict
from dataclasses import dataclass, field

from bench.merger.watched import Pace
from bench.stages import Figure, compared
from bench.targets import NONE, Target, at_most, share, times

AFTERWORD, STREAMS, TEXTBOOK = "afterword", "streams", "textbook"
STAGE = "merger"
_STREAMS_NAME, _TEXTBOOK_NAME = "Kafka Streams with defaults", "a textbook Faust agent with a table"
_RATE, _COST = "events/s", "us of processor time"
_GIB_IN_MIB = 1024


def _paces() -> defaultdict[str, list[Pace]]:
    return defaultdict(list)


@dataclass
class Measured:
    """The paces of each contender, one a round."""

    merging: defaultdict[str, list[Pace]] = field(default_factory=_paces)
    late: defaultdict[str, list[Pace]] = field(default_factory=_paces)
    """Over the second half of the events alone."""
    restoring: defaultdict[str, list[Pace]] = field(default_factory=_paces)
    memory: dict[int, float] = field(default_factory=dict)
    """The merger's most memory in MiB, by how many requests it had in its state."""


def figures(measured: Measured, *, is_warm: bool = True) -> list[Figure]:
    """Return the lines of the report; Kafka Streams is no measure of anything before Java is warm."""
    merging, late, restoring = measured.merging, measured.late, measured.restoring
    rate, cost, restored = (
        (times(3, _STREAMS_NAME), share(0.25, _STREAMS_NAME), times(1, _STREAMS_NAME))
        if is_warm
        else (NONE, NONE, NONE)
    )
    return [
        _rate("events a second", merging, TEXTBOOK, times(25, _TEXTBOOK_NAME)),
        _rate("events a second", merging, STREAMS, rate),
        _cost("processor time an event", merging, STREAMS, cost),
        _cost("processor time an event", merging, TEXTBOOK),
        _rate("events a second, second half", late, STREAMS),
        _cost("processor time an event, second half", late, STREAMS),
        _rate("states restored a second", restoring, STREAMS, restored, unit="records/s"),
        _cost("processor time a state restored", restoring, STREAMS),
        *(_memory(requests, most) for requests, most in measured.memory.items()),
    ]


def _rate(
    what: str,
    paces: dict[str, list[Pace]],
    baseline: str,
    target: Target = NONE,
    *,
    unit: str = _RATE,
) -> Figure:
    samples = [[pace.rate for pace in paces[name]] for name in (AFTERWORD, baseline)]
    return compared(STAGE, _named(what, baseline), unit, *samples, target=target)


def _cost(what: str, paces: dict[str, list[Pace]], baseline: str, target: Target = NONE) -> Figure:
    samples = [[pace.cost for pace in paces[name]] for name in (AFTERWORD, baseline)]
    return compared(STAGE, _named(what, baseline), _COST, *samples, target=target)


def _named(what: str, baseline: str) -> str:
    return f"{what}, against {'Kafka Streams' if baseline == STREAMS else 'Faust'}"


def _memory(requests: int, most: float) -> Figure:
    target = at_most(_GIB_IN_MIB, "MiB")
    return compared(STAGE, f"memory with {requests:,} requests in the state", "MiB", [most], target=target)
