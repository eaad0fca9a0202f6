"""The directory of a merger: one process holds it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.merger.directory import Directory, DirectoryUnusable


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


def test_a_directory_that_cannot_be_written_reports_it(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "home").write_text("")

    with pytest.raises(DirectoryUnusable, match="set AFTERWORD_HOME"):
        Directory(tmp_path / "home", 1, 0)
