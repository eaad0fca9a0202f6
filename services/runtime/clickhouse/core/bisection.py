"""Which errors of ClickHouse mean that a row is invalid, and how that row is found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

REFUSALS = frozenset({6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 130, 131, 469})
"""Codes of ClickHouse for values that it cannot read or take; 469 is a violated constraint.

Any other answer (memory, too many parts, a missing table, a wrong password) is not the data's fault: the
same batch may be taken later, so it is retried for as long as it takes.
"""

_WINDOW = 1_000
DEFAULT_SHARE = 0.1


def is_refusal(code: int | None) -> bool:
    """Return whether the error means that a row is invalid."""
    return code in REFUSALS


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Return both halves of two or more items, in order.

    One bad row among 100,000 is found with some 34 inserts, and everything beside it is stored.
    """
    middle = len(items) // 2
    return items[:middle], items[middle:]


@dataclass(frozen=True)
class Tolerance:
    """How many rows of the last thousand or so were refused.

    More than a share of them (a tenth) is no bad data but a bad deployment: tables and rows that do not
    fit each other.  To continue would drain the log into the dead letters.
    """

    rows: int = 0
    refused: int = 0
    share: float = DEFAULT_SHARE

    def after(self, rows: int, refused: int) -> "Tolerance":
        """Return the count with one more batch; a full window restarts with that batch."""
        if self.rows >= _WINDOW:
            return Tolerance(rows, refused, self.share)
        return Tolerance(self.rows + rows, self.refused + refused, self.share)

    @property
    def exceeded(self) -> bool:
        """Whether to stop instead of dead-lettering more rows."""
        return self.refused > self.share * max(self.rows, _WINDOW)
