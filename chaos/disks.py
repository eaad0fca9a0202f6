"""Small disks for the directories of mergers, Kafka and ClickHouse: filled to the last byte, or read-only.

They are file systems in memory, mounted in a mount namespace of the run's own: nothing of them is left once
its processes have ended, and nobody but root needs to be root.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

SIZES: Mapping[str, str] = {"merger": "512m", "merger-2": "512m", "kafka": "1g", "warehouse": "1g"}
"""By directory of the stack's home."""

_INSIDE = "CHAOS_NAMESPACE"
_FILLER = "filler"
_PIECE = 1 << 20


def enter_namespace(module: str, arguments: Sequence[str]) -> bool:
    """Run this program again in a mount namespace of its own, if the system lets us; else say False.

    It does not return when it works, but in the new process, with True.
    """
    if os.environ.get(_INSIDE):
        return True
    as_root = () if os.geteuid() == 0 else ("--map-root-user",)
    enter = ("unshare", *as_root, "--mount", "--propagation", "private")
    if shutil.which("unshare") is None or not _works((*enter, "mount", "-t", "tmpfs", "chaos", "/mnt")):
        return False
    command = (*enter, sys.executable, "-m", module, *arguments)
    os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})  # noqa: S606 (ourselves again)
    raise AssertionError


def _works(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0


def mount(home: Path) -> None:
    """Put a small disk at directories of a stack's home.  Call it in a namespace of the run's own."""
    for name, size in SIZES.items():
        directory = home / name
        directory.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", str(directory))


def protect(directory: Path) -> None:
    """Make a directory read-only for new opens; files that are open stay writable."""
    _run("mount", "--bind", str(directory), str(directory))
    _run("mount", "-o", "remount,bind,ro", str(directory))


def unprotect(directory: Path) -> None:
    """Let the directory be written again."""
    # A process that opened a file meanwhile keeps the mount until it is closed.
    _run("umount", "--lazy", str(directory))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=10)


def fill(directory: Path) -> int:
    """Leave no byte free on the disk of a directory; how many were taken."""
    with (directory / _FILLER).open("ab", buffering=0) as file:
        for piece in (_PIECE, 4096, 1):
            with suppress(OSError):
                while True:
                    _write(file.fileno(), piece)
        return file.tell()


def _write(file: int, piece: int) -> None:
    if os.write(file, bytes(piece)) < piece:
        raise OSError(errno.ENOSPC, "the disk is full")


def free(directory: Path) -> None:
    """Give back what was taken."""
    (directory / _FILLER).unlink(missing_ok=True)
