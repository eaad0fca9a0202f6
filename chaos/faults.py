"""Which faults there are, and in which order a run strikes them.  Pure: a seed in, a plan out.

A run has phases, each with a stack of its own, and a phase is a sequence of waves.  The faults of one wave
strike shortly after each other, so that all but the first hit a system that is still recovering; between
waves the system recovers from all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple

FAULTS = 200
"""Faults of a long run."""


class Phase(StrEnum):
    """The stack that a fault strikes."""

    LOCAL = "local"
    """`afterword up`, with a second merger and a second sink."""
    CLUSTER = "cluster"
    """Three brokers, ClickHouse's engine, and every service in a process of its own."""
    OPERATED = "operated"
    """`afterword up` again, struck by faults that only an operator can fix."""


SHARES: Mapping[Phase, float] = {Phase.LOCAL: 0.75, Phase.CLUSTER: 0.18, Phase.OPERATED: 0.07}
"""How many of a run's faults strike in each phase, at least."""


class Kind(NamedTuple):
    """A kind of fault: its name, what it can strike, and for how many seconds it lasts."""

    name: str
    targets: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)
    weight: int = 2
    """How often it comes, against the others, once every kind has come."""
    quick: bool = False
    """Whether a short run can afford it."""
    phases: tuple[Phase, ...] = (Phase.LOCAL,)
    needs: str = ""
    """`disks`: the run must be able to mount file systems; `compiler`: to move clocks of any program."""


_CLUSTER = (Phase.CLUSTER,)
_BOTH = (Phase.LOCAL, Phase.CLUSTER)
_SERVICES = ("ingest", "merger", "merger-2", "sink", "sink-2")
_DAMAGES = ("cut", "flip", "manifest", "current", "table", "directory", "swapped")

KINDS = (
    Kind("kill", ("kafka",), weight=4),
    Kind("kill", ("warehouse", *_SERVICES), weight=4, quick=True, phases=_BOTH),
    Kind("kill", ("supervisor",), weight=2),
    Kind("turns", ("merger", "sink"), (4.0, 9.0), weight=3),
    Kind("storm", ("mergers", "sinks", "mergers and sinks"), (6.0, 10.0), weight=2, phases=_BOTH),
    # Longer than the group waits for a silent member: 6 s for the merger here, 10 s for the sink.
    Kind("freeze", ("merger", "merger-2"), (8.0, 11.0), weight=4, quick=True),
    Kind("freeze", ("sink", "sink-2"), (12.0, 15.0), weight=3),
    Kind("freeze", ("ingest",), (12.0, 15.0), weight=2),
    Kind("restart", ("kafka",), weight=4),
    Kind("slow", ("kafka",), (6.0, 12.0), weight=4, quick=True),
    Kind("cut", ("kafka",), (4.0, 14.0), weight=4, quick=True),
    Kind("silence", ("kafka",), (4.0, 14.0), weight=4),
    Kind("down", ("warehouse",), (60.0, 90.0), weight=0),
    Kind("hang", ("warehouse",), (65.0, 80.0), weight=0),
    Kind("damage", _DAMAGES[:-1], weight=2, quick=True),
    Kind("damage", _DAMAGES[-1:], weight=2),
    Kind("other copy", ("older", "other host"), (4.0, 10.0), weight=2),
    Kind("restore", ("warehouse",), (6.0, 14.0), weight=3),
    Kind("poison", ("log",), weight=6, quick=True),
    Kind("too large", ("request", "record", "row", "limit"), (3.0, 6.0), weight=2),
    Kind("clock", ("ingest", "merger", "sink"), (5.0, 10.0), weight=3, quick=True),
    Kind("disk full", ("merger", "merger-2", "both"), (5.0, 10.0), weight=2, needs="disks"),
    Kind("disk full", ("kafka", "warehouse"), (4.0, 8.0), weight=2, needs="disks"),
    Kind("read-only", ("warehouse",), (5.0, 10.0), weight=2, needs="disks"),
    Kind("throttle", ("warehouse",), (8.0, 14.0), weight=2),
    Kind("idle", ("ingest", "query"), (6.0, 12.0), weight=2),
    Kind("broker", ("leader", "coordinator", "controller"), (3.0, 8.0), weight=4, phases=_CLUSTER),
    Kind("below", ("min ISR", "a majority"), (5.0, 10.0), weight=3, phases=_CLUSTER),
    Kind("clock", ("broker", "clickhouse"), (5.0, 10.0), phases=_CLUSTER, needs="compiler"),
    Kind("roll", ("brokers",), weight=1, phases=_CLUSTER),
    Kind("migrate", ("a broker away",), weight=1, phases=_CLUSTER),
    Kind("tail cut", ("events", "state", "everything"), (5.0, 10.0), phases=(Phase.OPERATED,)),
    Kind("emptied", ("kafka",), weight=3, phases=(Phase.OPERATED,)),
    Kind("recreated", ("events", "state"), phases=(Phase.OPERATED,)),
    Kind("spoiled", ("state",), phases=(Phase.OPERATED,)),
)
LONG = frozenset({"down", "hang"})
"""Kinds that last long enough for other faults to strike meanwhile."""
_COMPANY = 8
"""Faults that strike while one of these lasts."""
_SERVES_CLICKHOUSE = ("warehouse", "supervisor")
"""Targets that would bring ClickHouse back before its time."""
_ONE_LONG_EACH = 100
"""A run has one fault of each long kind for so many others, and at least one."""
_SIZES: Mapping[Phase, tuple[Sequence[int], Sequence[int]]] = {
    Phase.LOCAL: ((1, 2, 3, 4, 5, 6), (10, 15, 25, 25, 15, 10)),
    Phase.CLUSTER: ((1, 2, 3), (30, 40, 30)),
    Phase.OPERATED: ((1,), (1,)),
}
"""How many faults a wave has, and how often."""


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


def pairs(kinds: Sequence[Kind] = KINDS, phase: Phase | None = None) -> list[tuple[Kind, str]]:
    """Return every kind with each of its targets; `phase`: those that strike in it."""
    return [
        (kind, target) for kind in kinds if phase is None or phase in kind.phases for target in kind.targets
    ]


def plans(seed: int, count: int = FAULTS, kinds: Sequence[Kind] = KINDS) -> dict[Phase, list[Wave]]:
    """Return the waves of each phase of a long run that has any: at least `count` faults in all.

    Every kind with every target is among them.
    """
    present = [phase for phase in Phase if pairs(kinds, phase)]
    whole = sum(SHARES[phase] for phase in present)
    counts = {phase: int(count * SHARES[phase] / whole) for phase in present}
    if present:
        counts[present[0]] += count - sum(counts.values())
    return {phase: plan(seed, counts[phase], kinds, phase) for phase in present}


def plan(
    seed: int, count: int = FAULTS, kinds: Sequence[Kind] = KINDS, phase: Phase = Phase.LOCAL
) -> list[Wave]:
    """Return the waves of a phase: at least `count` faults, every kind of it with every target among them."""
    random = Random(f"{seed} {phase}")
    short = [pair for pair in pairs(kinds, phase) if pair[0].name not in LONG]
    long = [pair for pair in pairs(kinds, phase) if pair[0].name in LONG] * max(1, count // _ONE_LONG_EACH)
    more = max(0, count - len(short) - len(long))
    chosen = [*short, *random.choices(short, [kind.weight for kind, _ in short], k=more)] if short else []
    random.shuffle(chosen)
    faults = [_fault(random, *pair) for pair in chosen]
    waves = [_with_company(random, _fault(random, *pair), faults) for pair in long]
    waves += _waves(random, faults, phase)
    random.shuffle(waves)
    return waves


def short_plan(seed: int, count: int = 4) -> list[Wave]:
    """Return the waves of a short run: a kill, a freeze, and a few others of the quick kinds."""
    random = Random(seed)
    quick = [pair for pair in pairs(phase=Phase.LOCAL) if pair[0].quick]
    kills, freezes = ([pair for pair in quick if pair[0].name == name] for name in ("kill", "freeze"))
    others = [pair for pair in quick if pair[0].name not in ("kill", "freeze")]
    chosen = [random.choice(kills), random.choice(freezes), *random.sample(others, count - 2)]
    random.shuffle(chosen)
    faults = [_fault(random, *pair) for pair in chosen]
    return [_spaced(random, faults[place : place + 2]) for place in range(0, count, 2)]


def _fault(random: Random, kind: Kind, target: str) -> Fault:
    return Fault(kind.name, target, random.randrange(2**32), round(random.uniform(*kind.seconds), 1))


def _waves(random: Random, faults: list[Fault], phase: Phase) -> Iterator[Wave]:
    while faults:
        sizes, weights = _SIZES[phase]
        size = random.choices(sizes, weights)[0]
        wave = [faults.pop()]
        while len(wave) < size and (fits := [fault for fault in faults if not _hinders(wave, fault)]):
            faults.remove(fits[-1])
            wave.append(fits[-1])
        yield _spaced(random, wave)


_APART = (
    # A stack would have to start while a topic's setting is wrong, which `migrate` refuses.
    ({"kill supervisor"}, {"too large limit"}),
    # Nor can it start on a disk that takes nothing.
    ({"kill supervisor"}, {"disk full kafka", "disk full warehouse", "read-only warehouse"}),
    # A copy of a full disk would be put back as it is.
    ({"restore warehouse"}, {"disk full warehouse", "read-only warehouse"}),
    # Nor can the run itself write into a merger's directory then.
    (
        {"other copy older", "other copy other host", *(f"damage {one}" for one in _DAMAGES)},
        {"disk full merger", "disk full merger-2", "disk full both"},
    ),
)
"""Faults that do not strike together."""


def _hinders(wave: Sequence[Fault], fault: Fault) -> bool:
    """Return whether a fault must not strike together with one of a wave."""
    names, name = {str(one) for one in wave}, str(fault)
    return any((name in one and names & other) or (name in other and names & one) for one, other in _APART)


def _spaced(random: Random, faults: Sequence[Fault]) -> Wave:
    pauses = [0.0, *(round(random.uniform(0.5, 4.0), 1) for _ in faults[1:])]
    return [_after(fault, pause) for fault, pause in zip(faults, pauses, strict=True)]


def _with_company(random: Random, long: Fault, faults: list[Fault]) -> Wave:
    company: list[Fault] = []
    for fault in tuple(faults):
        apart = fault.target in _SERVES_CLICKHOUSE or _hinders(company, fault)
        if not apart and len(company) < _COMPANY:
            faults.remove(fault)
            company.append(fault)
    pause = long.seconds / (len(company) + 1)
    return [long, *(_after(fault, round(random.uniform(0.5, pause), 1)) for fault in company)]


def _after(fault: Fault, pause: float) -> Fault:
    return Fault(fault.fault, fault.target, fault.seed, fault.seconds, pause)
