"""Damage is done to what is there."""

from pathlib import Path
from random import Random

import pytest

from chaos.damage import WAYS, damage


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A merger's directory with one partition."""
    partition = tmp_path / "merger" / "v0" / "0"
    partition.mkdir(parents=True)
    for name in ("MANIFEST-000005", "CURRENT", "000004.sst", "LOG"):
        (partition / name).write_bytes(bytes(range(64)))
    return tmp_path / "merger"


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("way", WAYS)
def test_every_way_changes_something_and_shows_what(way: str, directory: Path) -> None:
    """Whatever chance decides."""
    before = contents(directory)

    said = damage(directory, way, Random(1))

    assert contents(directory) != before
    assert said != "nothing was there to be damaged"


def test_a_flip_is_one_bit_of_a_table(directory: Path) -> None:
    """And nothing else."""
    before = contents(directory)

    assert damage(directory, "flip", Random(1)).startswith("flipped bit")

    after = contents(directory)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["v0/0/000004.sst"]
    pairs = zip(before[changed[0]], after[changed[0]], strict=True)
    assert sum((one ^ other).bit_count() for one, other in pairs) == 1


@pytest.mark.parametrize("way", WAYS)
def test_where_nothing_is_nothing_is_damaged(way: str, tmp_path: Path) -> None:
    """A merger that has not written yet."""
    assert damage(tmp_path, way, Random(1)) in ("nothing was there to be damaged", "deleted everything")
