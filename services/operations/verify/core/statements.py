"""What is asked of ClickHouse, each a line of JSON with an array for each row.

Numbers of 64 bits come as numbers, and are exact.
"""

from collections.abc import Iterable, Mapping

from schemas.identity import OFFSET_BITS, version_of
from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE, SINK_POSITIONS
from services.operations.audit.core.checksum import LETTER_SQL, STATE_SQL
from services.operations.audit.core.row_to_event import COLUMNS_SQL
from services.operations.verify.core.selection import VerifySelection
from services.reconciliation.core.events import DIGEST_SQL
from services.reconciliation.core.missing_events import quoted
from services.reconciliation.core.ranges import WORD, EventsPartition

_GENERATION = f"bitShiftRight(log_offset, {OFFSET_BITS})"
_OFFSET = f"bitAnd(log_offset, {version_of(1, 0) - 1})"


def positions(topics: Iterable[str]) -> str:
    """Ask how far each partition is stored."""
    names = ", ".join(map(quoted, topics))
    return f"SELECT topic, partition, position FROM {SINK_POSITIONS} FINAL WHERE topic IN ({names})"  # noqa: S608


def keys(selection: VerifySelection) -> str:
    """Ask how many requests there are, about."""
    return f"SELECT count() FROM {FEEDBACK_STATE} WHERE {selection.sql()}"  # noqa: S608


def stored_offsets(selection: VerifySelection) -> str:
    """Ask which offsets of each partition have a row: 64 of them in a number."""
    return (
        f"SELECT {_GENERATION} AS generation, log_partition, intDiv({_OFFSET}, {WORD}) AS word,"  # noqa: S608
        f" groupBitOr(bitShiftLeft(toUInt64(1), toUInt8(log_offset % {WORD}))) FROM {FEEDBACK_EVENTS}"
        f" WHERE {selection.times_sql()} GROUP BY generation, log_partition, word"
    )


def events(selection: VerifySelection) -> str:
    """Ask for the row of each event, with its checksum."""
    return (
        "SELECT tenant, request_id, version, log_partition, log_offset,"  # noqa: S608
        f" toUnixTimestamp64Micro(received_at), {DIGEST_SQL} FROM {FEEDBACK_EVENTS} FINAL"
        f" WHERE {selection.sql()}"
    )


def rows(selection: VerifySelection) -> str:
    """Ask for each row of `feedback_state`."""
    return (
        "SELECT tenant, request_id, revision, version, toUnixTimestamp64Micro(first_received_at),"  # noqa: S608
        f" toUnixTimestamp64Micro(last_received_at), {STATE_SQL} FROM {FEEDBACK_STATE} FINAL"
        f" WHERE {selection.sql()}"
    )


def history(selection: VerifySelection, before: Mapping[EventsPartition, int | None]) -> str:
    """Ask for whole events that logs no longer have: those below an offset, or all of a partition."""
    parts = [
        f"({_GENERATION} = {place.generation} AND log_partition = {place.partition}"
        + ("" if offset is None else f" AND {_OFFSET} < {offset}")
        + ")"
        for place, offset in before.items()
    ]
    return (
        f"SELECT {COLUMNS_SQL}"  # noqa: S608
        f" FROM {FEEDBACK_EVENTS} FINAL WHERE {selection.sql()} AND ({' OR '.join(parts)})"
    )


def events_at(place: EventsPartition, offsets: Iterable[int], selection: VerifySelection) -> str:
    """Ask which rows are at these offsets."""
    own = ", ".join(str(version_of(place.generation, offset)) for offset in offsets)
    tenant = "" if selection.tenant is None else f" AND tenant = {quoted(selection.tenant)}"
    return (
        f"SELECT tenant, request_id, log_offset FROM {FEEDBACK_EVENTS}"  # noqa: S608
        f" WHERE log_partition = {place.partition} AND log_offset IN ({own}){tenant}"
    )


def letters(topic: str, start: int, end: int) -> str:
    """Ask for the dead letters of a range of offsets, with their checksums."""
    return (
        f"SELECT dlq_offset, tenant, request_id, {LETTER_SQL} FROM {DEAD_LETTERS} FINAL"  # noqa: S608
        f" WHERE dlq_topic = {quoted(topic)} AND dlq_partition = 0"
        f" AND dlq_offset >= {start} AND dlq_offset < {end}"
    )
