"""A run of the benchmark: which stages were measured when and from what, and the figures.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self, TypeAlias

from bench.stages import STAGES, Figure

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """When and from what one stage was measured."""

    commit: str
    """What was checked out, with `+` where files differed from it."""
    began_at: str
    seconds: float
    rounds: int
    load: float
    """How many processes of others wanted a core when it began: the load average of one minute."""
    command: str


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of one size and one machine.  Stages may have been measured one after the other."""

    quick: bool
    machine: Json
    versions: dict[str, str]
    stages: dict[str, Measured] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)

    def of(self, stage: str) -> list[Figure]:
        """Return a stage's figures."""
        return [figure for figure in self.figures if figure.stage == stage]

    def fits(self, other: "Run") -> bool:
        """Return whether the figures of both may stand in one table."""
        return (self.quick, self.machine, self.versions) == (other.quick, other.machine, other.versions)

    def with_stage(self, stage: str, measured: Measured, figures: Sequence[Figure]) -> "Run":
        """Return the run with a stage measured, in place of what it had of that."""
        stages = {**self.stages, stage: measured}
        found = {name: self.of(name) for name in STAGES} | {stage: list(figures)}
        return replace(
            self,
            stages={name: stages[name] for name in STAGES if name in stages},
            figures=[figure for name in STAGES for figure in found[name]],
        )

    @property
    def seconds(self) -> float:
        """How long all of it took."""
        return sum(stage.seconds for stage in self.stages.values())

    @property
    def missing(self) -> list[str]:
        """The stages that were not measured."""
        return [name for name in STAGES if name not in self.stages]

    def facts(self) -> Json:
        """Return everything but the figures, as JSON."""
        stages = {name: asdict(one) for name, one in self.stages.items()}
        return {
            "quick": self.quick,
            "seconds": round(self.seconds, 1),
            "machine": self.machine,
            "versions": self.versions,
            "stages": stages,
        }

    def results(self) -> list[Json]:
        """Return the figures, as JSON."""
        return [asdict(figure) for figure in self.figures]

    @classmethod
    def read(cls, facts: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Self:
        """Return the run that was written as `facts` and `results`."""
        stages = {name: Measured(**one) for name, one in facts["stages"].items()}
        figures = [Figure(**result) for result in results]
        return cls(facts["quick"], facts["machine"], facts["versions"], stages, figures)
