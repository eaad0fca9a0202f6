"""A consumer that has a backlog: all records are there, and it hands on as many as it is asked for."""

from collections.abc import Sequence

from aiokafka import TopicPartition

from tests.support.sink import FakeRecord


class Backlog:
    """Stands in for aiokafka's consumer of one partition, as far as the sink's reader uses it."""

    def __init__(self, place: TopicPartition, records: Sequence[FakeRecord]) -> None:
        self.place, self.records = place, records
        self.fetches: list[int] = []
        """How many records each answer had."""
        self.committed_to = 0
        self._at = 0

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

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[FakeRecord]]:
        """Return the next records."""
        del timeout_ms
        found = [*self.records[self._at : self._at + max_records]]
        self._at += len(found)
        self.fetches.append(len(found))
        return {self.place: found} if found else {}

    async def position(self, _place: TopicPartition) -> int:
        """Return the offset of the next record."""
        return self._at

    def seek(self, _place: TopicPartition, offset: int) -> None:
        """Go on there."""
        self._at = offset

    def pause(self, *_places: TopicPartition) -> None:
        """Go on."""

    def resume(self, *_places: TopicPartition) -> None:
        """Go on."""

    def paused(self) -> set[TopicPartition]:
        """Return none."""
        return set()

    async def committed(self, _place: TopicPartition) -> int | None:
        """Return how far was committed."""
        return self.committed_to or None

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Note it."""
        self.committed_to = offsets[self.place]

    async def beginning_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the log's begin."""
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the log's end."""
        return dict.fromkeys(places, len(self.records))
