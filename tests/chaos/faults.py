"""Which faults there are, and in which order a run strikes them.  Pure: a seed in, a plan out.

A run is a sequence of waves.  The faults of one wave strike shortly after each other, so that all but the
first hit a system that is still recovering; between waves the system recovers from all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, NamedTuple

FAULTS = 110
"""Faults of a long run."""


class Kind(NamedTuple):
    """A kind of fault: its name, what it can strike, and for how many seconds it lasts."""

    name: str
    targets: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)
    weight: int = 2
    """How often it comes, against the others, once every kind has come."""
    quick: bool = False
    """Whether a short run can afford it."""


KINDS = (
    Kind("kill", ("kafka",), weight=4),
    Kind("kill", ("warehouse", "ingest", "merger", "merger-2", "sink", "sink-2"), weight=4, quick=True),
    Kind("kill", ("supervisor",), weight=2),
    Kind("turns", ("merger", "sink"), (4.0, 9.0), weight=3),
    # Longer than the group waits for a silent member: 6 s for the merger here, 10 s for the sink.
    Kind("freeze", ("merger", "merger-2"), (8.0, 11.0), weight=4, quick=True),
    Kind("freeze", ("sink", "sink-2"), (12.0, 15.0), weight=3),
    Kind("freeze", ("ingest",), (12.0, 15.0), weight=2),
    Kind("restart", ("kafka",), weight=4),
    Kind("slow", ("kafka",), (6.0, 12.0), weight=4, quick=True),
    Kind("cut", ("kafka",), (4.0, 14.0), weight=4, quick=True),
    Kind("silence", ("kafka",), (4.0, 14.0), weight=4),
    Kind("down", ("warehouse",), (90.0, 150.0), weight=0),
    Kind("hang", ("warehouse",), (70.0, 100.0), weight=0),
    Kind("damage", ("cut", "flip", "manifest", "current", "table", "directory"), weight=2, quick=True),
    Kind("poison", ("log",), weight=6, quick=True),
    Kind("too large", ("request", "record", "row", "limit"), (3.0, 6.0), weight=2),
    Kind("clock", ("ingest", "merger", "sink"), (5.0, 10.0), weight=3, quick=True),
    Kind("disk full", ("merger", "merger-2", "both"), (5.0, 12.0), weight=2),
)
LONG = frozenset({"down", "hang"})
"""Kinds that last so long that other faults strike meanwhile."""

_COMPANY = 6
"""Faults that strike while one of these lasts."""
_SERVES_CLICKHOUSE = ("warehouse", "supervisor")
"""Targets that would bring ClickHouse back before its time."""
_ONE_LONG_EACH = 60
"""A run has one fault of each long kind for so many others, and at least one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.  `after` is the pause in seconds since the fault before it in its wave."""

    fault: str
    target: str
    seed: int
    seconds: float
    after: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.fault} {self.target}"


Wave = Sequence[Fault]


def pairs(kinds: Sequence[Kind] = KINDS) -> list[tuple[Kind, str]]:
    """Return every kind with each of its targets."""
    return [(kind, target) for kind in kinds for target in kind.targets]


def plan(seed: int, count: int = FAULTS, kinds: Sequence[Kind] = KINDS) -> list[Wave]:
    """Return the waves of a long run: at least `count` faults, every kind with every target among them."""
    random = Random(seed)
    short = [pair for pair in pairs(kinds) if pair[0].name not in LONG]
    long = [pair for pair in pairs(kinds) if pair[0].name in LONG] * max(1, count // _ONE_LONG_EACH)
    more = max(0, count - len(short) - len(long))
    chosen = [*short, *random.choices(short, [kind.weight for kind, _ in short], k=more)]
    random.shuffle(chosen)
    faults = [_fault(random, *pair) for pair in chosen]
    waves = [_with_company(random, _fault(random, *pair), faults) for pair in long]
    waves += _waves(random, faults)
    random.shuffle(waves)
    return waves


def short_plan(seed: int, count: int = 4) -> list[Wave]:
    """Return the waves of a short run: a kill, a freeze, and a few others of the quick kinds."""
    random = Random(seed)
    quick = [pair for pair in pairs() if pair[0].quick]
    kills, freezes = ([pair for pair in quick if pair[0].name == name] for name in ("kill", "freeze"))
    others = [pair for pair in quick if pair[0].name not in ("kill", "freeze")]
    chosen = [random.choice(kills), random.choice(freezes), *random.sample(others, count - 2)]
    random.shuffle(chosen)
    faults = [_fault(random, *pair) for pair in chosen]
    return [_spaced(random, faults[place : place + 2]) for place in range(0, count, 2)]


def _fault(random: Random, kind: Kind, target: str) -> Fault:
    return Fault(kind.name, target, random.randrange(2**32), round(random.uniform(*kind.seconds), 1))


def _waves(random: Random, faults: list[Fault]) -> Iterator[Wave]:
    while faults:
        size = random.choices((1, 2, 3), (50, 35, 15))[0]
        wave = [faults.pop()]
        while len(wave) < size and faults and not _hinders(wave, faults[-1]):
            wave.append(faults.pop())
        yield _spaced(random, wave)


def _hinders(wave: Sequence[Fault], fault: Fault) -> bool:
    """Tell whether a stack would have to start while a topic's setting is wrong, which `migrate` refuses."""
    return {str(one) for one in (*wave, fault)} >= {"kill supervisor", "too large limit"}


def _spaced(random: Random, faults: Sequence[Fault]) -> Wave:
    pauses = [0.0, *(round(random.uniform(0.5, 4.0), 1) for _ in faults[1:])]
    return [_after(fault, pause) for fault, pause in zip(faults, pauses, strict=True)]


def _with_company(random: Random, long: Fault, faults: list[Fault]) -> Wave:
    company = [fault for fault in faults if fault.target not in _SERVES_CLICKHOUSE][:_COMPANY]
    for fault in company:
        faults.remove(fault)
    pause = long.seconds / (len(company) + 1)
    return [long, *(_after(fault, round(random.uniform(0.5, pause), 1)) for fault in company)]


def _after(fault: Fault, pause: float) -> Fault:
    return Fault(fault.fault, fault.target, fault.seed, fault.seconds, pause)
