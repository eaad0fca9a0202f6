"""The mergers' local copies, read from copies of their directories, against the state topic.

A copy may be behind, and a damaged one may be unreadable: it is rebuilt before it is used.  What it
may not be is different from the topic at the position that it names.
"""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from rocksdict import Options, Rdict

from chaos.judge.verdict import Findings, Kind, Where

_POSITION = b"\0position"
_PRIVATE = b"\0"


class Copy(Protocol):
    """A copy of one partition's store; `position` is None while nothing was ever written to it."""

    name: str
    partition: int
    position: int | None

    def rows(self, wanted: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return every row, those of the `wanted` keys for certain; Exception when one cannot be read."""


class RocksCopy:
    """The real one."""

    def __init__(self, path: Path, name: str, partition: int) -> None:
        """Open it; rocksdict raises Exception when it is damaged."""
        self.name, self.partition = name, partition
        self._db: Any = Rdict(str(path), Options(raw_mode=True))
        stored = self._db.get(_POSITION)
        self.position = None if stored is None else int(stored)

    def rows(self, wanted: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return every row; rocksdict raises Exception when one cannot be read."""
        found = {key: value for key, value in self._db.items() if not key.startswith(_PRIVATE)}
        # An iterator over a damaged file ends early without an error; asking for a key raises.
        for key in wanted:
            if key not in found and (value := self._db.get(key)) is not None:
                found[key] = value
        return found

    def close(self) -> None:
        """Let go of it."""
        self._db.close()


def copies_of(homes: Sequence[Path], generation: int, to: Path, findings: Findings) -> list[RocksCopy]:
    """Copy every store of these mergers into a directory, and open what can be opened."""
    copies = []
    for home in homes:
        for path in sorted((home / f"v{generation}").glob("[0-9]*")):
            if not path.is_dir() or not path.name.isdigit():
                continue
            name = f"{home.name}/{path.name}"
            target = to / home.parent.name / name
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("LOCK"))
            try:
                copies.append(RocksCopy(target, name, int(path.name)))
            except Exception as error:  # noqa: BLE001 (rocksdict raises nothing more specific)
                findings.notes.append(f"store {name} cannot be opened: {error}")
    return copies


def check(copy: Copy, topic: Mapping[bytes, bytes], findings: Findings) -> None:
    """Compare a copy with what the state topic holds up to its position."""
    with suppress(_Unreadable):
        compare(copy.name, _rows(copy, [*topic], findings), topic, findings)


class _Unreadable(Exception):  # noqa: N818 (it names what the copy is)
    pass


def _rows(copy: Copy, wanted: Sequence[bytes], findings: Findings) -> dict[bytes, bytes]:
    try:
        return copy.rows(wanted)
    except Exception as error:
        findings.notes.append(f"store {copy.name} cannot be read: {error}")
        raise _Unreadable from error


def compare(name: str, rows: Mapping[bytes, bytes], topic: Mapping[bytes, bytes], findings: Findings) -> None:
    """Compare a copy's rows with the newest value of each key at the copy's position."""
    for key, value in topic.items():
        if key not in rows:
            findings.add(Kind.LOST, Where.STORE, key, f"not in {name}")
        elif rows[key] != value:
            findings.add(Kind.WRONG, Where.STORE, key, f"{name} has {rows[key]!r}; the topic {value!r}")
    for key in rows.keys() - topic.keys():
        findings.add(Kind.INVENTED, Where.STORE, key, f"{name} has a row of which the topic has none")
