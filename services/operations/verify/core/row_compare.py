"""The row that people see of one key, held to the state topic.  Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from schemas.identity import partition_of, split_version
from services.merger.core import state as states
from services.operations.verify.core.evidence import Evidence, Known, StateRecord, TableRow
from services.operations.verify.core.report import Finding
from services.operations.verify.core.snapshot import Cut
from services.reconciliation.core.events import half_md5, microseconds
from services.reconciliation.core.remedies import Kind


class _Row(msgspec.Struct):
    version: int = 0
    first_received_at: datetime | None = None
    last_received_at: datetime | None = None
    sources: list[str] = []
    data: msgspec.Raw = msgspec.Raw(b"{}")
    request: msgspec.Raw = msgspec.Raw(b"{}")
    is_deleted: int = 0


_decode_row = msgspec.json.Decoder(_Row).decode


def row_digest(sources: Sequence[str], data: bytes, request: bytes) -> int:
    """Return what `statements.ROW_DIGEST_SQL` gives."""
    return half_md5(b"\x1e".join(("\x1f".join(sources).encode(), data, request)))


def row_findings(evidence: Evidence, known: Known) -> Iterator[Finding]:
    """Hold the row that people see to the state topic."""
    key, cut = evidence.key, known.cut
    if len(evidence.rows) > 1:
        yield Finding(Kind.ROW_DUPLICATED, key, f"{len(evidence.rows)} rows")
    row = max(evidence.rows, key=lambda one: one.revision, default=None)
    home = partition_of(key, cut.partitions(cut.in_use))
    stored_upto = cut.rows_stored_upto(home)
    states_at = {one.offset: one for one in evidence.states}
    promised = max((offset for offset in states_at if offset < stored_upto), default=None)
    expected = None if promised is None else states_at[promised]
    if row is None:
        if expected is not None and not _is_hidden(expected) and not _is_about_to_hide(evidence, stored_upto):
            yield _unstored(Kind.ROW_MISSING, expected, known)
        return
    generation, offset = split_version(row.revision)
    if generation != cut.in_use:
        yield from _of_another_generation(row, generation, expected, known)
    elif expected is not None and offset < expected.offset:
        yield _unstored(Kind.ROW_STALE, expected, known)
    elif (said_so := states_at.get(offset)) is not None:
        if _is_hidden(said_so) or not _is_row(row, said_so):
            yield Finding(Kind.ROW_CHANGED, key, "", cut.state_topic, said_so.partition, offset)
    elif not _was_compacted(offset, stored_upto, home, evidence, cut):
        yield Finding(Kind.ROW_INVENTED, key, "", cut.state_topic, home, offset)


def _was_compacted(offset: int, stored_upto: int, home: int, evidence: Evidence, cut: Cut) -> bool:
    """Tell whether a row may come from a record that was replaced while this was going on."""
    log = cut.logs.get((cut.state_topic, home))
    newer = evidence.states and evidence.states[-1].offset > offset
    return bool(log and stored_upto <= offset < log.end and newer)


def _is_about_to_hide(evidence: Evidence, stored_upto: int) -> bool:
    """Tell whether the sink may have hidden the row since its position was asked for."""
    return any(one.offset >= stored_upto and _is_hidden(one) for one in evidence.states)


def _of_another_generation(
    row: TableRow, generation: int, expected: StateRecord | None, known: Known
) -> Iterator[Finding]:
    if generation > known.cut.in_use:
        yield Finding(Kind.ROW_INVENTED, row.key, f"of generation {generation}, which is not in use")
    elif expected is not None:
        yield _unstored(Kind.ROW_STALE, expected, known)


def _unstored(kind: Kind, expected: StateRecord, known: Known) -> Finding:
    topic = known.cut.state_topic
    letter = known.refused.get((topic, expected.partition, expected.offset))
    if letter is not None:
        kind = Kind.ROW_REFUSED
    return Finding(kind, expected.key, letter or "", topic, expected.partition, expected.offset)


def _is_hidden(record: StateRecord) -> bool:
    return record.value is None or states.is_erased(record.value)


def _is_row(row: TableRow, record: StateRecord) -> bool:
    try:
        wanted = _decode_row(record.value or b"")
    except msgspec.MsgspecError:
        return False
    times = zip(
        (microseconds(wanted.first_received_at), microseconds(wanted.last_received_at)),
        (row.first_us, row.last_us),
        strict=True,
    )
    return (
        row.version == wanted.version
        and row.digest == row_digest(wanted.sources, bytes(wanted.data), bytes(wanted.request))
        and all(should in (None, is_) for should, is_ in times)
    )
