"""What all keys are judged by, and what a judgement is.  Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.identity import partition_of
from services.operations.verify.core.selection import Selection
from services.operations.verify.core.snapshot import Cut
from services.reconciliation.core.events import Render
from services.reconciliation.core.ranges import Place
from services.reconciliation.core.remedies import Kind


class Finding(NamedTuple):
    """One difference.  `offset` is one of the log `topic`/`partition`, where it is about one."""

    kind: Kind
    key: bytes
    detail: str = ""
    topic: str = ""
    partition: int = 0
    offset: int | None = None

    @property
    def tenant(self) -> str:
        """Whose it is, as far as one can tell."""
        return self.key.partition(b"/")[0].decode(errors="replace")


@dataclass(frozen=True)
class Known:
    """What all keys are judged by."""

    cut: Cut
    selection: Selection
    render: Render
    given_up: Collection[tuple[str, int, int]] = ()
    """Events that the merger gave up, for whatever reason."""
    crashed: Collection[tuple[str, int, int]] = ()
    """Those of them that it did not even look at."""
    refused: Mapping[tuple[str, int, int], str] = field(default_factory=dict)
    """Records that ClickHouse refused, and the ids of their dead letters."""
    gaps: Collection[Place] = ()
    """Partitions of which some event is neither in the log nor in the table any more."""
    forgets_before: int = 0
    """Erased rows may have left the state topic if they were erased before then, in milliseconds."""
    removes_before: int = 0
    """So may rows whose newest event was appended before then, where states are not kept for ever."""

    def is_whole(self, key: bytes) -> bool:
        """Tell whether every event that there ever was of a key is at hand."""
        return not any(
            Place(one.number, partition_of(key, one.partitions)) in self.gaps for one in self.cut.generations
        )
