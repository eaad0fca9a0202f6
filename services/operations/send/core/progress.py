"""How far a file is sent, so that it can be gone on with after any kind of end.

Pure.  Everything before `place` is settled; behind it, each lane of a chunk up to the batch in `done`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson

from services.operations.send.core.plan import Batch, Chunk, Plan
from services.operations.send.core.split import Place

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """What has to survive.  `run` tells this sending of the file from every other one.

    `done` maps a lane of a chunk to the name of its latest settled batch, and the faults of a chunk to "".
    """

    run: str
    place: Place = field(default_factory=Place)
    done: Mapping[str, str] = field(default_factory=dict)
    accepted: int = 0
    rejected: int = 0
    finished: bool = False

    def encoded(self) -> bytes:
        """Return the text of the state file."""
        held = {**vars(self), "format": FORMAT, "place": self.place._asdict()}
        return orjson.dumps(held, option=orjson.OPT_INDENT_2)

    @classmethod
    def decoded(cls, text: bytes) -> "Progress":
        """Return what a state file says; ValueError when it is none of this format."""
        try:
            held = orjson.loads(text)
            if held.pop("format") != FORMAT:
                raise ValueError("another format")
            return cls(**{**held, "place": Place(**held["place"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a state file: {error!r}") from error


class Work(NamedTuple):
    """What is left of a chunk: batches to be sent, lane by lane, and faults to be reported."""

    lanes: tuple[tuple[Batch, ...], ...]
    faults: bool


@dataclass
class _Open:
    chunk: Chunk
    missing: int


class Ledger:
    """Keeps the progress of one run while several chunks are open.  `progress` is always safe to store."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._open: dict[int, _Open] = {}

    @property
    def open_chunks(self) -> int:
        """How many chunks still miss something."""
        return len(self._open)

    def open(self, chunk: Chunk, plan: Plan) -> Work:
        """Take in the next chunk, and return what is left of it."""
        lanes = tuple(_behind(lane, self.progress.done) for lane in plan.lanes)
        faults = bool(plan.faults) and _faults_of(chunk.start.offset) not in self.progress.done
        self._open[chunk.start.offset] = _Open(chunk, sum(map(len, lanes)) + faults)
        self._close()
        return Work(lanes, faults)

    def settle(self, batch: Batch, *, rejected: int) -> None:
        """Note a batch as settled; its lane's earlier ones are."""
        self._settle(batch.chunk, batch.lane, batch.name, len(batch.entries) - rejected, rejected)

    def settle_faults(self, chunk: Chunk, count: int) -> None:
        """Note the faults of a chunk as reported."""
        self._settle(chunk.start.offset, _faults_of(chunk.start.offset), "", 0, count)

    def finish(self) -> None:
        """Note that the whole file is sent."""
        self.progress = replace(self.progress, finished=True)

    def _settle(self, chunk: int, key: str, name: str, accepted: int, rejected: int) -> None:
        self._open[chunk].missing -= 1
        self.progress = replace(
            self.progress,
            done={**self.progress.done, key: name},
            accepted=self.progress.accepted + accepted,
            rejected=self.progress.rejected + rejected,
        )
        self._close()

    def _close(self) -> None:
        """Move the place behind every leading chunk that misses nothing."""
        for offset, piece in list(self._open.items()):
            if piece.missing:
                return
            del self._open[offset]
            kept = {key: name for key, name in self.progress.done.items() if _chunk_of(key) != offset}
            self.progress = replace(self.progress, place=piece.chunk.end, done=kept)


def _behind(lane: tuple[Batch, ...], done: Mapping[str, str]) -> tuple[Batch, ...]:
    """Return a lane's batches behind the latest settled one: all of them, if the file has it no more."""
    names = [batch.name for batch in lane]
    settled = done.get(lane[0].lane) if lane else None
    return lane[names.index(settled) + 1 :] if settled in names else lane


def _faults_of(offset: int) -> str:
    return f"{offset}.faults"


def _chunk_of(key: str) -> int:
    return int(key.partition(".")[0])
