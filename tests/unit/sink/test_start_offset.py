"""At which offset the sink begins to read a partition."""

import pytest

from services.pipeline.core.continuity import LogRange
from services.sink.core.batch import start_offset

LOG = LogRange(10, 100)


@pytest.mark.parametrize(
    ("stored", "committed", "expected"),
    [
        (None, None, 10),  # nobody remembers: from the start of the log
        (50, None, 50),  # the group's offsets expired
        (50, 50, 50),
        (60, 50, 50),  # killed between position and commit, or an operator's wish to read again
        (40, 50, 40),  # ClickHouse restored from an older backup
        (None, 50, 10),  # ClickHouse is new
        (0, None, 0),
        (0, 50, 0),
    ],
)
def test_reading_starts_where_nothing_can_be_missed(
    stored: int | None, committed: int | None, expected: int
) -> None:
    """Going back changes no row; going on too far would lose some."""
    assert start_offset(stored, committed, LOG) == expected
