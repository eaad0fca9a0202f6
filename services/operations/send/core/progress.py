"""Progress of a file, from which a later call resumes after any kind of end.

Everything before `place` is settled; behind it, each lane of a chunk up to the batch in `done`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson

from services.operations.send.core.plan import FileChunk, SendBatch, SendPlan
from services.operations.send.core.split import FilePosition

FORMAT = 1


@dataclass(frozen=True)
class SendProgress:
    """The content of a state file.  `run` is unique to this sending of the file.

    `done` maps a lane of a chunk to the name of its latest settled batch, and the faults of a chunk to "".
    """

    run: str
    place: FilePosition = field(default_factory=FilePosition)
    done: Mapping[str, str] = field(default_factory=dict)
    accepted: int = 0
    rejected: int = 0
    finished: bool = False

    def encoded(self) -> bytes:
        """Return the state file as JSON."""
        held = {**vars(self), "format": FORMAT, "place": self.place._asdict()}
        return orjson.dumps(held, option=orjson.OPT_INDENT_2)

    @classmethod
    def decoded(cls, text: bytes) -> "SendProgress":
        """Return the progress in a state file; ValueError if it has another format."""
        try:
            held = orjson.loads(text)
            if held.pop("format") != FORMAT:
                raise ValueError("another format")
            return cls(**{**held, "place": FilePosition(**held["place"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a state file: {error!r}") from error


class ChunkWork(NamedTuple):
    """The rest of a chunk: batches to send, by lane, and whether faults are to be reported."""

    lanes: tuple[tuple[SendBatch, ...], ...]
    faults: bool


@dataclass
class _Open:
    chunk: FileChunk
    missing: int


class SendLedger:
    """The progress of a run with multiple open chunks.  `progress` is always safe to store."""

    def __init__(self, progress: SendProgress) -> None:
        self.progress = progress
        self._open: dict[int, _Open] = {}

    @property
    def open_chunks(self) -> int:
        """The number of chunks that are not settled."""
        return len(self._open)

    def open(self, chunk: FileChunk, plan: SendPlan) -> ChunkWork:
        """Add the next chunk, and return the rest of it."""
        lanes = tuple(_behind(lane, self.progress.done) for lane in plan.lanes)
        faults = bool(plan.faults) and _faults_of(chunk.start.offset) not in self.progress.done
        self._open[chunk.start.offset] = _Open(chunk, sum(map(len, lanes)) + faults)
        self._close()
        return ChunkWork(lanes, faults)

    def settle(self, batch: SendBatch, *, rejected: int) -> None:
        """Note a batch as settled; the earlier ones of its lane are."""
        self._settle(batch.chunk, batch.lane, batch.name, len(batch.entries) - rejected, rejected)

    def settle_faults(self, chunk: FileChunk, count: int) -> None:
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
        """Move the position behind every leading chunk that is settled."""
        for offset, piece in list(self._open.items()):
            if piece.missing:
                return
            del self._open[offset]
            kept = {key: name for key, name in self.progress.done.items() if _chunk_of(key) != offset}
            self.progress = replace(self.progress, place=piece.chunk.end, done=kept)


def _behind(lane: tuple[SendBatch, ...], done: Mapping[str, str]) -> tuple[SendBatch, ...]:
    """Return the batches of a lane behind the latest settled one; all, if the file no longer has that one."""
    names = [batch.name for batch in lane]
    settled = done.get(lane[0].lane) if lane else None
    return lane[names.index(settled) + 1 :] if settled in names else lane


def _faults_of(offset: int) -> str:
    return f"{offset}.faults"


def _chunk_of(key: str) -> int:
    return int(key.partition(".")[0])
