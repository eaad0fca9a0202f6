"""The ledger finds every key whose newest values differ, in whatever mixture the sides are read."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.operations.resize.ledger import Side, StateLedger
from services.operations.transfer import TransferRecord

ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.lists(
            st.builds(
                TransferRecord,
                st.sampled_from([b"a", b"b", b"c"]),
                st.sampled_from([None, b"", b"1", b"2"]),
                st.sampled_from([-1, 5]),
            ),
            max_size=4,
        ),
    ),
    max_size=8,
)


@given(parts=ENTRIES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_keys_differ_where_the_newest_records_of_both_sides_do(
    parts: list[tuple[Side, list[TransferRecord]]], tmp_path: Path
) -> None:
    """The timestamp counts, too; no record and a tombstone are the same."""
    ledger = StateLedger(tmp_path / "ledger")
    newest: dict[Side, dict[bytes, tuple[bytes, int]]] = {side: {} for side in Side}
    try:
        for side, entries in parts:
            ledger.note(side, entries)
            for entry in entries:
                if entry.value is None:
                    newest[side].pop(entry.key, None)
                else:
                    newest[side][entry.key] = (entry.value, entry.timestamp)
            both = newest[Side.OLD].keys() | newest[Side.NEW].keys()
            differing = [key for key in both if newest[Side.OLD].get(key) != newest[Side.NEW].get(key)]
            assert ledger.differing == len(differing)
            assert ledger.keys == len(newest[Side.OLD])
    finally:
        ledger.close()


def test_a_ledger_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its directory is gone, and one that a kill left there is started over."""
    StateLedger(tmp_path / "ledger").note(Side.OLD, [TransferRecord(b"a", b"1", 0)])
    again = StateLedger(tmp_path / "ledger")
    assert again.keys == 0
    again.close()
    assert not (tmp_path / "ledger").exists()
