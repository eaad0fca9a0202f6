"""Local copies in a real RocksDB, damaged in every way that a disk knows."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from services.merger.core.state import StoredRow
from services.merger.metrics import REBUILT
from services.merger.state_store import StateStore, StoreDamaged

ROWS = {b"default/r%d" % number: b'{"n":%d}' % number for number in range(2_000)}
ERASED = b'{"tenant":"default","request_id":"r","erased":1,"is_deleted":1}'


def fill(store: StateStore) -> None:
    """Write rows in four steps, of which all but the last reach a table file."""
    names = sorted(ROWS)
    for step in range(4):
        part = names[step * 500 : (step + 1) * 500]
        position = (step + 1) * 500
        store.write({name: StoredRow(ROWS[name], 1) for name in part}, position=position, now=position)
        if step < 3:
            store._db.flush()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a copy with 2,000 rows that was not closed in order, as after kill -9."""
    with closing(StateStore(tmp_path / "live")) as store:
        fill(store)
        shutil.copytree(tmp_path / "live", tmp_path / "copy")
    return tmp_path / "copy"


def only(path: Path, pattern: str) -> Path:
    """Return the one file whose name matches."""
    (found,) = path.glob(pattern)
    return found


def cut(file: Path, part: float = 0.5) -> None:
    """Keep only the first part of a file."""
    with file.open("r+b") as opened:
        opened.truncate(int(file.stat().st_size * part))


def is_consistent(store: StateStore) -> bool:
    """Return whether the rows are exactly those up to the position."""
    known = {key: row for key, row in store.get(sorted(ROWS)).items() if row is not None}
    expected = {key: ROWS[key] for key in sorted(ROWS)[: store.position or 0]}
    return known == expected


def test_a_kill_takes_the_copy_back_to_an_earlier_moment(path: Path) -> None:
    """Rows and position together, so that reading on from there mends it."""
    with closing(StateStore(path)) as store:
        assert (store.position, store.seen_at) == (1_500, 1_500)
        assert is_consistent(store)


def test_an_orderly_end_keeps_everything(tmp_path: Path) -> None:
    """Nothing has to be read again."""
    with closing(StateStore(tmp_path / "0")) as store:
        fill(store)
    with closing(StateStore(tmp_path / "0")) as store:
        assert store.position == 2_000
        assert is_consistent(store)


@pytest.mark.parametrize("part", [part / 20 for part in range(20)])
def test_with_a_list_of_files_cut_short_it_is_an_earlier_moment(path: Path, part: float) -> None:
    """Or empty: but never a position with rows missing before it."""
    cut(only(path, "MANIFEST-*"), part)

    with closing(StateStore(path)) as store:
        assert store.position in (None, 500, 1_000, 1_500)
        assert is_consistent(store)


def test_without_its_first_file_it_starts_over(path: Path) -> None:
    """An empty copy has no position, and is read back whole."""
    cut(path / "CURRENT")

    with closing(StateStore(path)) as store:
        assert store.position is None
        assert is_consistent(store)


@pytest.mark.parametrize("harm", [cut, Path.unlink])
def test_without_a_table_it_starts_over(path: Path, harm: Callable[[Path], None]) -> None:
    """And says so."""
    before = REBUILT.labels("damaged")._value.get()
    harm(next(path.glob("*.sst")))

    with closing(StateStore(path)) as store:
        assert store.position is None
        assert is_consistent(store)
    assert REBUILT.labels("damaged")._value.get() == before + 1


def flip(file: Path, at: float) -> None:
    """Turn the byte at that part of a file around."""
    content = bytearray(file.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    file.write_bytes(content)


def test_a_flipped_bit_is_found_when_it_is_read(path: Path) -> None:
    """It opens as if nothing were wrong; the read fails, and the copy is deleted."""
    flip(next(path.glob("*.sst")), 0.25)

    with closing(StateStore(path)) as store:
        with pytest.raises(StoreDamaged, match="was deleted"):
            store.get(sorted(ROWS))
        assert store.position is None
        assert is_consistent(store)


def use(path: Path) -> None:
    """Do with a copy what a merger does: open it, look around, read, write and close it."""
    with closing(StateStore(path)) as store:
        position = store.position
        assert position in (None, 500, 1_000, 1_500)
        assert (store.input, store.broken) == (None, [])
        assert list(store.forgettable(1)) == []
        assert is_consistent(store)
        store.write({}, position=position, now=position or 500)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("at", [part / 40 for part in range(40)] + [0.99, 0.998])
def test_wherever_a_bit_flips_the_next_start_but_one_is_whole(path: Path, which: int, at: float) -> None:
    """Damage is found by opening, by a position, by a row or never: and it never comes back."""
    flip(sorted(path.glob("*.sst"))[which], at)

    with suppress(StoreDamaged):
        use(path)
    use(path)


def test_a_table_that_goes_missing_while_the_copy_is_open_is_damage(tmp_path: Path) -> None:
    """RocksDB opens most tables only when they are read, and says nothing of corruption then."""
    with closing(StateStore(tmp_path / "0")) as store:
        store._db.set_options({"disable_auto_compactions": "true", "level0_stop_writes_trigger": "1000"})
        for number, key in enumerate(sorted(ROWS)[:40]):
            store.write({key: StoredRow(ROWS[key], 1)}, position=number, now=1)
            store._db.flush()
    with closing(StateStore(tmp_path / "0")) as store:
        for table in (tmp_path / "0").glob("*.sst"):
            table.unlink()
        with pytest.raises(StoreDamaged, match="IO error"):
            store.get(sorted(ROWS))
        assert store.position is None


def test_damage_that_a_compaction_comes_upon_is_found_too(path: Path) -> None:
    """RocksDB then refuses every write, also after the next start."""
    flip(sorted(path.glob("*.sst"))[1], 0.25)

    store = StateStore(path)
    store._db.compact_range(None, None)
    with pytest.raises(StoreDamaged):
        store.write({b"k": StoredRow(b"{}", 1)}, position=9, now=9)
    store.close()
    with closing(StateStore(path)) as store:
        assert store.position is None
        assert is_consistent(store)


HOLD = """
import sys, time
from rocksdict import Rdict
held = Rdict(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(path: Path) -> Iterator[None]:
    """Let another process hold the copy."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


@pytest.mark.usefixtures("holder")
def test_a_copy_in_use_is_not_a_damaged_one(path: Path) -> None:
    """It is never deleted under the process that has it."""
    with pytest.raises(Exception, match=r"(?i)lock"):
        StateStore(path)
    assert list(path.glob("*.sst"))


def test_a_tombstone_takes_the_row_and_its_erase_away(tmp_path: Path) -> None:
    """Nothing of the key is left."""
    with closing(StateStore(tmp_path / "0")) as store:
        store.write({b"k": StoredRow(ERASED, 5)}, position=1, now=1)
        assert list(store.forgettable(6)) == [b"k"]
        store.write({b"k": StoredRow(None, 7)}, position=2, now=2)

        assert store.get([b"k"]) == {b"k": None}
        assert list(store.forgettable(9)) == []


def test_only_rows_that_are_still_erased_can_be_forgotten(tmp_path: Path) -> None:
    """And only if their newest erase is old enough."""
    with closing(StateStore(tmp_path / "0")) as store:
        store.write({key: StoredRow(ERASED, 5) for key in (b"a", b"b", b"c")}, position=1, now=1)
        store.write({b"b": StoredRow(b"{}", 6), b"c": StoredRow(ERASED, 8)}, position=2, now=2)

        assert list(store.forgettable(8)) == [b"a"]
        assert list(store.forgettable(9)) == [b"a", b"c"]


def test_other_values_are_unchanged(tmp_path: Path) -> None:
    """Positions and broken offsets are kept until they are replaced."""
    with closing(StateStore(tmp_path / "0")) as store:
        assert (store.position, store.input, store.seen_at, store.broken) == (None, None, None, [])
        store.write({}, position=3, now=1, input_position=7, broken=[4, 5])
        store.write({}, position=None, now=2)

        assert (store.position, store.input, store.seen_at, store.broken) == (3, 7, 2, [4, 5])
