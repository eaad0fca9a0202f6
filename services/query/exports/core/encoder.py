"""What every format of an export does.  Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import orjson

from services.query.exports.core.lines import Row


@dataclass(frozen=True)
class Ending:
    """How an export ended.  Its file says so, if asked to."""

    rows: int
    next_cursor: str | None
    """The cursor of an export of what follows; None if nothing did."""
    complete: bool
    """Every row that there was when the export began, from its cursor on, is there."""

    def json(self) -> str:
        """Return it as JSON text."""
        return orjson.dumps(asdict(self)).decode()


@dataclass(frozen=True)
class Options:
    """What a reader may choose about a file."""

    trailer: bool = False
    """CSV, NDJSON: the last line says how many rows there are, and whether that is all."""
    bom: bool = False
    """CSV: begin with a byte order mark, without which Excel does not see that it is UTF-8."""


class Encoder(Protocol):
    """Turns rows into the bytes of a file, in order; what it holds back is bounded."""

    def begin(self) -> bytes:
        """Return what stands before the first row."""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Take some rows, and return the bytes that are ready."""

    def end(self, ending: Ending) -> bytes:
        """Return the rest."""
