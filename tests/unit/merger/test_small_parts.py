"""The small parts that decide: holes, shares, progress, marks, directories, settings."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.merger.core.fold import WINDOW_EVENTS, holes, is_too_many, latest
from services.merger.crash_bisect import MAX_ENDS, CrashBisection, FoldMark
from services.merger.directory import Directory, DirectoryUnusable
from services.merger.settings import MergerSettings
from services.pipeline.core.progress import PartitionOffsets, PartitionProgress
from services.runtime.settings import SettingsError, load


def test_holes_lie_before_and_between_records() -> None:
    """Each as (first, after last)."""
    assert list(holes(3, [3, 4, 5])) == []
    assert list(holes(3, [5, 6, 9])) == [(3, 5), (7, 9)]


def test_broken_events_are_counted_in_every_window() -> None:
    """Wherever 1,000 events begin; what is older does not matter any more."""
    spread = list(range(0, 50_000, 20))
    dense = [*range(100), 50_000]

    assert latest([], spread)[1] == WINDOW_EVENTS // 20
    assert latest(dense[:60], dense[60:]) == ([50_000], 100)
    assert not is_too_many(100, 0.1)
    assert is_too_many(101, 0.1)
    assert not is_too_many(WINDOW_EVENTS, 1.0)


def test_a_partition_stands_still_only_while_events_wait() -> None:
    """Time counts from the last move, from the last time nothing waited, or from other progress."""
    progress = PartitionProgress()
    progress.see({0: PartitionOffsets(5, 9), 1: PartitionOffsets(9, 9)}, 100.0)
    progress.see({0: PartitionOffsets(5, 9), 1: PartitionOffsets(9, 9)}, 110.0)
    assert progress.stalled(115.0) == (15.0, [0])
    progress.see({0: PartitionOffsets(6, 9), 1: PartitionOffsets(9, 10)}, 120.0)
    assert progress.stalled(121.0) == (11.0, [1])
    progress.touch(130.0)
    assert progress.stalled(131.0)[0] == 1.0
    progress.see({}, 140.0)
    assert progress.stalled(999.0) == (0.0, [])


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


def test_a_directory_is_held_by_one_process(tmp_path: Path) -> None:
    """Until that ends, however it ends."""
    hold = f"from services.merger.directory import Directory; from pathlib import Path; import time;\
 held = Directory(Path({str(tmp_path)!r}), 1, 0); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(DirectoryUnusable, match="MERGER_INSTANCE=2"):
            Directory(tmp_path, 1, 0)
        Directory(tmp_path, 2, 0).close()
        process.send_signal(signal.SIGKILL)
    Directory(tmp_path, 1, 0).close()


def test_a_directory_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "home").write_text("")

    with pytest.raises(DirectoryUnusable, match="set AFTERWORD_HOME"):
        Directory(tmp_path / "home", 1, 0)


def test_nonsense_in_the_settings_is_refused_at_once() -> None:
    """Every mistake, and a variable that nobody knows."""
    with pytest.raises(SettingsError) as caught:
        load(MergerSettings, {"MERGER_STALL_SECONDS": "0", "MERGER_COMPRESSION": "rar", "MERGER_X": "2"})

    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "MERGER_X",
        "MERGER_COMPRESSION",
        "MERGER_STALL_SECONDS",
    ]
