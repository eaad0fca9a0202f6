"""Which rows nobody has said anything about for so long that they are removed.  Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec import MsgspecError

from services.merger.core import state as states


class Since(NamedTuple):
    """How old a row must be: its newest event came before `moment`, and its version is below `version`.

    The version is that of the first event in the log.  The moment is a matter of ingest's clock, and what
    the log still holds is not idle, whatever that clock said.
    """

    moment: datetime
    version: int


def since(now_ms: int, idle_ms: int, version: int) -> Since:
    """Return how old a row must be now that rows are kept for `idle_ms` milliseconds without an event."""
    return Since(datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(milliseconds=idle_ms), version)


def idle(rows: Iterable[tuple[bytes, bytes]], old: Since) -> list[bytes]:
    """Return the keys of rows that are old enough.

    Erased rows are left to those who know when they were erased, and what is no row to whoever reads it.
    """
    return [key for key, row in rows if _is_idle(row, old)]


def _is_idle(row: bytes, old: Since) -> bool:
    try:
        state = states.decode(row)
    except MsgspecError:
        return False
    newest = state.last_received_at
    return newest is not None and newest < old.moment and max(state.version, state.merge.read) < old.version
