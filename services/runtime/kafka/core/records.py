"""The part of a Kafka record that consumers use, so that tests can make records."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

Headers = Sequence[tuple[str, bytes | None]]

Partition = tuple[str, int]
"""Topic and number."""


class Record(Protocol):
    """A record of a partition that the reader knows.  The timestamp is in milliseconds."""

    @property
    def offset(self) -> int: ...  # noqa: D102 (Kafka's own words)
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Headers: ...  # noqa: D102


class LocatedRecordLike(Record, Protocol):
    """A record with its topic and partition."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102


class LocatedRecord(msgspec.Struct, gc=False):
    """A record with the topic and partition that its reader knows."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def placed(topic: str, partition: int, records: Iterable[Record]) -> list[LocatedRecord]:
    """Return records of a partition with its topic and number."""
    return [
        LocatedRecord(
            topic, partition, record.offset, record.timestamp, record.key, record.value, record.headers
        )
        for record in records
    ]


def is_text(name: str) -> bool:
    """Return whether the bytes of a header's name were UTF-8; others were decoded as lone surrogates."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
