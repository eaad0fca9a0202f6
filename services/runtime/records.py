"""What those who read the log use of a Kafka record: no more than a test has to make up.  Pure."""

from collections.abc import Sequence
from typing import Protocol

Headers = Sequence[tuple[str, bytes | None]]


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


class PlacedRecord(Record, Protocol):
    """A record that says where it comes from."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102


def is_text(name: str) -> bool:
    """Tell whether the bytes of a header's name were UTF-8; what is not stands there as lone surrogates."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
