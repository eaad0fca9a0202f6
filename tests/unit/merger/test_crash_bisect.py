"""A mark of the batch in progress names the event that ends the process, after a few ends."""

from pathlib import Path

import pytest

from services.merger.crash_bisect import MAX_ENDS, CrashBisection, FoldMark


def test_a_mark_outlives_its_process_and_counts_its_ends(tmp_path: Path) -> None:
    """Only while it is set, and only for what begins at the same offset."""
    path = tmp_path / "0.attempt"
    for ends in range(1, MAX_ENDS + 1):
        attempts = CrashBisection(path)
        attempts.begin(7, 17)
        attempts.close()
        left = CrashBisection(path).left(7)
        assert left is not None
        assert (left.ends, left.is_suspect) == (ends, ends >= MAX_ENDS)
    attempts = CrashBisection(path)
    assert attempts.left(8) is None
    attempts.begin(7, 17)
    attempts.finish()
    assert CrashBisection(path).left(7) is None


def test_a_mark_on_one_record_names_the_culprit(tmp_path: Path) -> None:
    """It needs to end one process only."""
    CrashBisection(tmp_path / "0").begin(7, 8, is_piece=True)
    left = CrashBisection(tmp_path / "0").left(7)

    assert left is not None
    assert left.is_culprit


@pytest.mark.parametrize(("size", "culprit"), [(1, 7), (4, 9), (17, 23), (50_000, 7), (50_000, 31_415)])
def test_a_culprit_among_many_ends_few_processes(tmp_path: Path, size: int, culprit: int) -> None:
    """Each piece that ends one is cut again, and the others are merged."""
    path, merged, ends, mark = tmp_path / "0", 7, 0, FoldMark(7, 7 + size, MAX_ENDS)
    while not mark.is_culprit:
        assert mark.is_suspect
        assert ends < 5
        for start, until in mark.pieces():
            assert start == merged
            CrashBisection(path).begin(start, until, is_piece=True)
            if start <= culprit < until:
                break
            merged = until
        found = CrashBisection(path).left(merged)
        assert found is not None
        mark, ends = found, ends + 1

    assert mark.offset == culprit


def test_a_damaged_mark_is_none(tmp_path: Path) -> None:
    """A lost mark costs a try more."""
    (tmp_path / "0").write_bytes(b"{")

    assert CrashBisection(tmp_path / "0").left(0) is None
