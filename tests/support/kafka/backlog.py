"""A consumer that has a backlog: all records are there, and each fetch brings as many as fit in one."""

from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from services.pipeline.core.continuity import ContinuityFacts
from tests.support.sink.doubles import FakeFetch, FakeRecord

FETCH = 24_000
"""Records of 600 bytes in a fetch of 16 MiB, and a few less."""


async def unmarked(facts: ContinuityFacts) -> ContinuityFacts:
    """Look at no mark: there is no log."""
    return facts


class Backlog:
    """Stands in for aiokafka's consumer of one partition, as far as the sink's reader uses it."""

    losses = 0

    def __init__(self, place: TopicPartition, records: Sequence[FakeRecord]) -> None:
        self.place, self.records = place, records
        self.committed_to = 0
        self.at = 0
        """The offset of the next record."""

    def subscribe(self, _topics: Sequence[str], listener: object) -> None:
        """Keep nothing: whoever made it says when partitions come."""
        del listener

    async def start(self) -> None:
        """Be ready."""

    async def stop(self) -> None:
        """Be done."""

    def assignment(self) -> set[TopicPartition]:
        """Return the one partition."""
        return {self.place}

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, FakeFetch]:
        """Return the next records."""
        del timeout_ms
        found = self.records[self.at : self.at + FETCH]
        self.at += len(found)
        return {self.place: FakeFetch(found)} if found else {}

    async def position(self, _place: TopicPartition) -> int:
        """Return the offset of the next record."""
        return self.at

    def seek(self, _place: TopicPartition, offset: int) -> None:
        """Continue there."""
        self.at = offset

    def pause(self, *_places: TopicPartition) -> None:
        """Continue."""

    def resume(self, *_places: TopicPartition) -> None:
        """Continue."""

    def paused(self) -> set[TopicPartition]:
        """Return none."""
        return set()

    @property
    def _coordinator(self) -> "Backlog":
        return self

    async def fetch_committed_offsets(
        self, places: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return how far was committed."""
        return dict.fromkeys(places, OffsetAndMetadata(self.committed_to or -1, ""))

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Note it."""
        self.committed_to = offsets[self.place].offset

    async def beginning_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the log's begin."""
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the log's end."""
        return dict.fromkeys(places, len(self.records))
