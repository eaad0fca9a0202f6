"""Copies of directories, taken and put back: ClickHouse's, Kafka's, and the mergers' partitions."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random


def fill(directory: Path, source: Path) -> None:
    """Make a directory, which may be a mount point, hold what another one holds, and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(source, directory, symlinks=True, dirs_exist_ok=True)


def keep(home: Path, to: Path) -> int:
    """Copy every partition's directory of a merger that is stopped; how many there are."""
    found = list(_partitions(home))
    for path in found:
        shutil.copytree(path, to / path.relative_to(home))
    return len(found)


def replace(home: Path, kept: Path, random: Random) -> str | None:
    """Put one of the copies in place of a merger's own, which does not run; which, if there is any."""
    if not (found := sorted(_partitions(kept))):
        return None
    chosen = random.choice(found)
    target = home / chosen.relative_to(kept)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(chosen, target)
    return str(target.relative_to(home.parent))


def _partitions(home: Path) -> Iterator[Path]:
    return (path for path in home.glob("v*/[0-9]*") if path.is_dir() and path.name.isdigit())
