"""Ways to damage a merger's directory while nothing of it is running."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random


def damage(directory: Path, way: str, random: Random) -> str:
    """Damage the directory in one of the ways below; what was done, in words.

    Where there is nothing yet of what a way damages, a file is cut instead, and without files nothing is.
    """
    return WAYS[way](directory, random) or _cut(directory, random) or "nothing was there to be damaged"


def has_tables(directory: Path) -> bool:
    """Return whether anything has been written from memory to disk yet."""
    return any(directory.glob("v*/*/*.sst"))


def has_multiple(directory: Path) -> bool:
    """Return whether there are copies of two partitions at least."""
    return len(_partitions(directory)) > 1


def _cut(directory: Path, random: Random) -> str | None:
    """Leave only the beginning of a file."""
    if (file := _chosen(directory, "*", random)) is None:
        return None
    size = random.randrange(file.stat().st_size)
    with file.open("r+b") as opened:
        opened.truncate(size)
    return f"cut {_named(directory, file)} to {size} bytes"


def _flip(directory: Path, random: Random) -> str | None:
    """Turn over one bit of a table."""
    if (file := _chosen(directory, "*.sst", random)) is None:
        return None
    place, bit = random.randrange(file.stat().st_size), random.randrange(8)
    with file.open("r+b") as opened:
        opened.seek(place)
        (byte,) = opened.read(1)
        opened.seek(place)
        opened.write(bytes([byte ^ 1 << bit]))
    return f"flipped bit {bit} of byte {place} of {_named(directory, file)}"


def _manifest(directory: Path, random: Random) -> str | None:
    """Cut the list of tables."""
    if (file := _chosen(directory, "MANIFEST-*", random)) is None:
        return None
    with file.open("r+b") as opened:
        opened.truncate(random.randrange(file.stat().st_size))
    return f"cut {_named(directory, file)}"


def _current(directory: Path, random: Random) -> str | None:
    """Fill the file that names the list of tables with nonsense."""
    if (file := _chosen(directory, "CURRENT", random)) is None:
        return None
    file.write_bytes(random.randbytes(16))
    return f"overwrote {_named(directory, file)}"


def _table(directory: Path, random: Random) -> str | None:
    """Delete a table."""
    if (file := _chosen(directory, "*.sst", random)) is None:
        return None
    file.unlink()
    return f"deleted {_named(directory, file)}"


def _directory(directory: Path, random: Random) -> str | None:
    """Delete everything, or one partition."""
    partitions = _partitions(directory)
    if partitions and random.random() < 0.5:
        gone = random.choice(partitions)
        shutil.rmtree(gone)
        return f"deleted {_named(directory, gone)}"
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    return "deleted everything"


def _swapped(directory: Path, random: Random) -> str | None:
    """Swap the directories of two partitions."""
    if not has_multiple(directory):
        return None
    one, other = random.sample(_partitions(directory), 2)
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    return f"swapped {_named(directory, one)} and {_named(directory, other)}"


WAYS: Mapping[str, Callable[[Path, Random], str | None]] = {
    "cut": _cut,
    "flip": _flip,
    "manifest": _manifest,
    "current": _current,
    "table": _table,
    "directory": _directory,
    "swapped": _swapped,
}


def _partitions(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("v*/*") if path.is_dir() and path.name.isdigit())


def _chosen(directory: Path, pattern: str, random: Random) -> Path | None:
    """Return one of the files of that name that are not empty."""
    files = sorted(path for path in directory.glob(f"v*/**/{pattern}") if path.is_file())
    files = [path for path in files if path.stat().st_size]
    return random.choice(files) if files else None


def _named(directory: Path, path: Path) -> str:
    return str(path.relative_to(directory.parent))
