"""What those who read the log use of a Kafka record: no more than a test has to make up.  Pure."""

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
    """A record that says where it comes from."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102


class LocatedRecord(msgspec.Struct, gc=False):
    """A record with the place that whoever read it knows."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def placed(topic: str, partition: int, records: Iterable[Record]) -> list[LocatedRecord]:
    """Return records of a partition as records that say where they come from."""
    return [
        LocatedRecord(topic, partition, one.offset, one.timestamp, one.key, one.value, one.headers)
        for one in records
    ]


def is_text(name: str) -> bool:
    """Tell whether the bytes of a header's name were UTF-8; what is not stands there as lone surrogates."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
