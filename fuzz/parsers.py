"""The pure parsers as targets of a fuzzer: bytes in; whether they were accepted out.

A target lets only the documented refusals pass, and asks of what was accepted that it holds all the way:
what ingest accepts is an event for the merger, the sink and the judge's own reading; what query parses it
says again.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import parse_qsl

from chaos.judge.bodies import body_of, canonical, replayed_version, value_of
from chaos.judge.states import state_of
from chdb_server.core import statements
from chdb_server.core.errors import QueryRefusedError
from schemas.identity import event_key
from services.ingest.core.content import (
    BodyFormat,
    BrokenArray,
    body_format,
    check_size,
    decompress,
    encoding_of,
    is_array,
    items_of,
    split_broken_array,
)
from services.ingest.core.errors import Rejection
from services.ingest.core.event import event_bytes, idempotency_key
from services.ingest.core.router import Router, redacted, request_id_of
from services.ingest.dialects import DIALECTS, gptboost, native, requesty
from services.ingest.dialects.dialect import Submission
from services.merger.core import events, state
from services.merger.core.fold import SourcePartition, fold
from services.query import waiting
from services.query.api import params
from services.query.core.problems import QueryProblem
from services.query.reads.core import listing
from services.query.reads.core.filters import Filters, parse_filters, to_parameters
from services.query.reads.core.sql import where
from services.sink.core.rows import MalformedRowError, dead_letter_line, event_line, state_line
from tests.support.merger.records import ARecord
from tests.support.sink.doubles import FakeRecord

Target = Callable[[bytes], bool]

_LIMIT = 1 << 16
_SOURCE = SourcePartition("feedback-events", 0, 0, 1)
_EVENT_ID = "0199d8a0-0000-7000-8000-000000000000"
_PATHS = Router(DIALECTS)
_READERS: tuple[Callable[[bytes], Submission], ...] = (
    lambda body: requesty.read("r-1", body),
    lambda body: gptboost.read("", body),
    native.read_event,
    lambda body: native.read_facts("r-1", body),
)


def _split(data: bytes) -> tuple[int, bytes]:
    return (data[0], data[1:]) if data else (0, b"")


def bodies(data: bytes) -> bool:
    """The readers of the dialects; the first byte chooses one."""
    choice, body = _split(data)
    try:
        submission = _READERS[choice % len(_READERS)](body)
        value = _written(submission)
    except Rejection:
        return False
    _holds(submission, value)
    return True


def _written(submission: Submission) -> bytes:
    return event_bytes(
        "acme", "native", submission, _EVENT_ID, "2026-11-22T08:00:00.000001Z", idempotent=False
    )


def _holds(submission: Submission, value: bytes) -> None:
    """What ingest accepted is an event for everybody behind it, and says what was said."""
    record = ARecord(5, event_key("acme", submission.request_id), value)
    said = body_of(record)
    assert said is not None, "the judge cannot read it"
    assert (said.op, said.content) == (submission.op.value, said.content)
    for mine, theirs in ((said.data, submission.data), (said.request, submission.request)):
        assert canonical(theirs) == canonical({key: value_of(text) for key, text in (mine or {}).items()})
    folded = fold([record], {}, _SOURCE)
    assert not folded.letters, folded.letters
    for row in folded.rows.values():
        _is_canonical(row.value or b"")
        value_of(state_line(FakeRecord(row.value, record.key), 0))
    assert event_line(FakeRecord(value, record.key, 5, topic="feedback-events"), 0) is not None


def _is_canonical(row: bytes) -> None:
    state_of(row)
    assert state.encode(state.decode(row)) == row


def batches(data: bytes) -> bool:
    """Arrays and lines taken apart, and each item read; the first byte chooses between them."""
    choice, body = _split(data)
    kind = (BodyFormat.JSON, BodyFormat.LINES)[choice % 2]
    accepted = False
    if kind is BodyFormat.JSON and not is_array(body):
        return False
    try:
        items = items_of(kind, body)
        if kind is BodyFormat.JSON and items:
            assert split_broken_array(body, BrokenArray(ValueError())) == [
                item._replace(body=item.body.strip()) for item in items
            ]
    except BrokenArray as broken:
        try:
            items = split_broken_array(body, broken)
        except Rejection:
            return False
    except Rejection:
        return False
    assert [item.position for item in items] == sorted({item.position for item in items})
    for item in items[:50]:
        try:
            check_size(item)
            submission = native.read_event(item.body)
            _holds(submission, _written(submission))
            accepted = True
        except Rejection:
            continue
    return accepted


def encodings(data: bytes) -> bool:
    """Compressed bodies; the first byte chooses gzip or zstd."""
    choice, body = _split(data)
    try:
        plain = decompress(("gzip", "zstd")[choice % 2], body, _LIMIT)
    except Rejection:
        return False
    assert len(plain) <= _LIMIT
    return True


def paths(data: bytes) -> bool:
    """Raw paths to routes and ids, and headers that choose how a body is read."""
    found = _PATHS.find(data)
    assert found is None or found.path_key is None or redacted(data).startswith("/k/***/")
    accepted = found is not None
    for parse in (
        lambda: request_id_of(data if found is None or found.raw_id is None else found.raw_id),
        lambda: encoding_of(data),
        lambda: body_format({b"content-type": data}, lines=True),
        lambda: idempotency_key(data),
    ):
        try:
            parse()
        except Rejection:
            continue
    return accepted


def filters(data: bytes) -> bool:
    """Parameters of lists, exports and statistics: what is parsed is said again in the same words."""
    try:
        parameters = parse_qsl(data.decode(), keep_blank_values=True, errors="strict")
        parsed = parse_filters(parameters)
    except (UnicodeDecodeError, QueryProblem):
        return False
    except ValueError as error:  # of parse_qsl, whose callers are spared it by a limit on the address
        assert "fields" in str(error)  # noqa: PT017 (no test of an error)
        return False
    assert parse_filters(to_parameters(parsed)) == parsed
    where("acme", parsed)
    return True


def cursors_and_waits(data: bytes) -> bool:
    """Cursors, orders, waits, versions and ids; the first byte chooses an order."""
    choice, rest = _split(data)
    text, order = (
        rest.decode("latin-1"),
        listing.parse_order(listing.ORDER_NAMES[choice % len(listing.ORDER_NAMES)]),
    )
    accepted = False
    try:
        position = listing.decode(text, "acme", Filters(), order)
        assert (
            listing.decode(listing.encode("acme", Filters(), order, position), "acme", Filters(), order)
            == position
        )
        accepted = True
    except QueryProblem:
        pass
    for parse in (
        listing.parse_order,
        waiting.parse_version,
        lambda said: waiting.parse_wait(said, 30.0),
        params.request_id_of,
    ):
        try:
            parse(text)
            accepted = True
        except QueryProblem:
            continue
    return accepted


def records(data: bytes) -> bool:
    """A record of the log, whatever it is: version header, key and value, separated by line breaks."""
    header, _, rest = data.partition(b"\n")
    key, _, value = rest.partition(b"\n")
    headers = (("afterword-replay-version", header),) if header else ()
    record = ARecord(2**40, key, value, headers)
    placed = FakeRecord(value, key, 2**40, topic="feedback-events", headers=headers)
    folded = fold([record], {}, _SOURCE)
    for row in folded.rows.values():
        _is_canonical(row.value or b"")
    stored = event_line(placed, 0)
    value_of(dead_letter_line(placed, 0))
    with suppress(MalformedRowError):
        state_line(placed, 0)
    version = replayed_version(headers, 2**40)
    try:
        merged = events.version_in_order(headers, 2**40)
    except events.Poison:
        assert version is None
        assert stored is None
        return False
    assert merged == version
    assert stored is not None or not folded.rows, "merged, and no event for the table"
    return bool(folded.rows)


def sql(data: bytes) -> bool:
    """The local warehouse's reading of statements."""
    query, _, body = data.partition(b"\0")
    try:
        statement = statements.read(query, body)
    except QueryRefusedError:
        return False
    return bool(statement.sql)


TARGETS: Mapping[str, Target] = {
    "bodies": bodies,
    "batches": batches,
    "encodings": encodings,
    "paths": paths,
    "filters": filters,
    "cursors": cursors_and_waits,
    "records": records,
    "sql": sql,
}
