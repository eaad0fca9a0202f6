"""Every number that bounds what Afterword accepts, stores or remembers.

Each limit is checked where data enters, so that no later stage can meet a value it cannot hold:
what ingest accepts, the merger merges and ClickHouse stores.
"""

from datetime import UTC, datetime

KIB = 1 << 10
MIB = 1 << 20

MAX_REQUEST_ID_LENGTH = 256
"""Characters of a request id."""

MAX_DEPTH = 16
"""Levels of nesting in `data` and in `request`; the object itself is level 1."""

MAX_KEYS = 256
"""Top-level keys of `data`, and of `request`, in one event."""

MAX_KEY_LENGTH = 256
"""Characters of a key at any level; a key has at least one."""

MIN_INTEGER = -(2**63)
"""The smallest integer accepted: ClickHouse's Int64 and orjson both end here."""

MAX_INTEGER = 2**64 - 1
"""The largest integer accepted: ClickHouse's UInt64 and orjson both end here."""

MAX_EVENT_BYTES = 512 * KIB
"""An event as it is written to Kafka, key excluded."""

MAX_BODY_BYTES = MIB
"""The body of a request that carries one event, decompressed."""

MAX_BATCH_BODY_BYTES = 16 * MIB
"""The body of a request that carries many events, decompressed."""

MAX_ROW_KEYS = 1024
"""Keys of one row, `data` and `request` together, cleared ones included."""

MAX_ROW_BYTES = 4 * MIB
"""Keys, cleared ones included, and values of one row, as UTF-8 and as JSON text."""

MAX_SOURCES = 16
"""Dialects that a row remembers: the smallest ones by name."""

RECENT_EVENTS = 8
"""Idempotent events that a row remembers, to recognise a repeat."""

START_OF_TIMES = datetime(1970, 1, 1, tzinfo=UTC)
"""The earliest time that a row has, and that a question names."""

END_OF_TIMES = datetime(2100, 1, 1, tzinfo=UTC)
"""Behind the latest one: ClickHouse's types of days and seconds, into which times are rounded, end later."""
