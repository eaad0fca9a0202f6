"""Copies of directories, taken and put back."""

from pathlib import Path
from random import Random

from chaos.copies import fill, keep, replace


def a_home(directory: Path, name: str, text: str) -> Path:
    """Return a merger's directory with two partitions and what else is there."""
    home = directory / name
    for partition in ("0", "1"):
        (home / "v0" / partition).mkdir(parents=True)
        (home / "v0" / partition / "CURRENT").write_text(f"{text} {partition}")
    (home / "lock").touch()
    (home / "v0" / "0.attempt").write_text("an attempt")
    return home


def test_a_directory_holds_what_another_one_held_and_nothing_else(tmp_path: Path) -> None:
    """Also where it is a mount point, which cannot be replaced itself."""
    source, directory = a_home(tmp_path, "source", "old"), a_home(tmp_path, "directory", "new")
    (directory / "v0" / "0" / "later").touch()

    fill(directory, source)

    assert (directory / "v0" / "0" / "CURRENT").read_text() == "old 0"
    assert not (directory / "v0" / "0" / "later").exists()


def test_one_partition_is_replaced_by_its_copy(tmp_path: Path) -> None:
    """And the others stay."""
    merger, other = a_home(tmp_path, "merger", "own"), a_home(tmp_path, "merger-2", "other")

    assert keep(other, tmp_path / "kept") == 2
    replaced = replace(merger, tmp_path / "kept", Random(1))

    assert replaced in ("merger/v0/0", "merger/v0/1")
    texts = {path.parent.name: path.read_text() for path in merger.rglob("CURRENT")}
    assert sorted(text.partition(" ")[0] for text in texts.values()) == ["other", "own"]
    assert texts[replaced[-1]] == f"other {replaced[-1]}"


def test_without_a_copy_nothing_is_replaced(tmp_path: Path) -> None:
    """A merger that has no partitions yet."""
    merger = a_home(tmp_path, "merger", "own")
    (tmp_path / "empty").mkdir()

    assert keep(tmp_path / "empty", tmp_path / "kept") == 0
    assert replace(merger, tmp_path / "kept", Random(1)) is None
