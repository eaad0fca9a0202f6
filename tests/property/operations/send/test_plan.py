"""Which events travel together: a function of the file, and no request's events out of order."""

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.operations.send.core.plan import LANES, FileChunk, SendLimits, SendPlan, chunks, plan
from services.operations.send.core.split import FilePosition, LineSplitter

SMALL = SendLimits(chunk_entries=7, chunk_bytes=400, batch_entries=3, batch_bytes=120)

lines = st.lists(
    st.one_of(
        st.builds(
            lambda name, size: json.dumps({"request_id": name, "data": {"text": "x" * size}}),
            st.sampled_from(["a", "b", "c", "d", "e", "f"]),
            st.integers(0, 150),
        ),
        st.sampled_from(["", "nonsense", "[]", "42", '{"request_id": 7}', '{"data": {}}']),
    ),
    max_size=40,
)


def content_of(texts: list[str]) -> bytes:
    """Return the file that has these lines."""
    return "".join(text + "\n" for text in texts).encode()


def planned(content: bytes, start: FilePosition | None = None) -> list[tuple[FileChunk, SendPlan]]:
    """Return every chunk of a file from a place on, with its plan."""
    place = start or FilePosition()
    found = chunks([content[place.offset :]], LineSplitter(place), SMALL)
    return [(chunk, plan(chunk, SMALL)) for chunk in found]


@given(lines)
def test_every_line_is_sent_once_or_reported(texts: list[str]) -> None:
    """Nothing is left out, nothing is doubled, and what travels is what the file says."""
    sent: list[tuple[int, bytes]] = []
    reported = []
    for chunk, work in planned(content_of(texts)):
        reported += [entry.line for entry in work.faults]
        for batch in (batch for lane in work.lanes for batch in lane):
            assert batch.body == b"".join(entry.text + b"\n" for entry in batch.entries)
            assert batch.chunk == chunk.start.offset
            sent += [(entry.line, entry.text) for entry in batch.entries]

    assert sorted(sent) == [(n, t.encode()) for n, t in enumerate(texts, 1) if t not in ("", "nonsense")]
    assert reported == [number for number, text in enumerate(texts, 1) if text == "nonsense"]


@given(lines)
def test_the_events_of_a_request_follow_each_other_in_one_lane(texts: list[str]) -> None:
    """One lane, one event a batch, later lines in later batches: nothing can overtake."""
    places: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    for number, (_, work) in enumerate(planned(content_of(texts))):
        for lane, batches in enumerate(work.lanes):
            for position, batch in enumerate(batches):
                for entry in batch.entries:
                    value = json.loads(entry.text)
                    if isinstance(value, dict) and isinstance(value.get("request_id"), str):
                        places[value["request_id"]].append((entry.line, lane, number, position))

    for found in places.values():
        found.sort()
        assert len({lane for _, lane, _, _ in found}) == 1
        assert all(earlier[2:] < later[2:] for earlier, later in pairwise(found))


@given(lines, st.lists(st.integers(1, 60), max_size=30))
def test_a_later_run_plans_the_same_from_any_chunk(texts: list[str], sizes: list[int]) -> None:
    """Names, bodies and order are those of the first run, however the bytes arrive."""
    content = content_of(texts)
    arriving = chunks(cut(content, sizes), LineSplitter(FilePosition()), SMALL)
    first = [(chunk, plan(chunk, SMALL)) for chunk in arriving]

    assert planned(content) == first
    for number, (chunk, _) in enumerate(first):
        assert planned(content, chunk.start) == first[number:]


@given(lines)
def test_chunks_tile_the_file(texts: list[str]) -> None:
    """Each begins where the one before ends, and the last one ends with the file."""
    content = content_of(texts)
    found = [chunk for chunk, _ in planned(content)]

    starts = [FilePosition(), *(chunk.end for chunk in found)]
    assert [chunk.start for chunk in found] == starts[:-1]
    assert starts[-1] == FilePosition().after(content)


@given(lines)
def test_batches_are_small_and_their_names_unique(texts: list[str]) -> None:
    """A batch passes a limit only where one event alone does; lanes share the requests."""
    batches = [batch for _, work in planned(content_of(texts)) for lane in work.lanes for batch in lane]

    assert len({batch.name for batch in batches}) == len(batches)
    for batch in batches:
        assert len(batch.entries) == 1 or len(batch.entries) <= SMALL.batch_entries
        assert len(batch.entries) == 1 or len(batch.body) <= SMALL.batch_bytes
        assert 0 <= int(batch.lane.split(".")[1]) < LANES


@given(lines, st.lists(st.integers(1, 60), max_size=30))
def test_from_a_pipe_every_block_is_handed_on_at_once(texts: list[str], sizes: list[int]) -> None:
    """What has arrived does not wait for what may take hours."""
    given_out, arrived = 0, b""

    def blocks() -> Iterator[bytes]:
        nonlocal arrived
        for block in cut(content_of(texts), sizes):
            # Asked for more, so whatever was complete must be out.
            assert given_out == len([line for line in arrived.split(b"\n")[:-1] if line])
            arrived += block
            yield block

    for chunk in chunks(blocks(), LineSplitter(FilePosition()), SMALL, eager=True):
        given_out += len(chunk.entries)

    assert given_out == len([text for text in texts if text])


def cut(content: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Yield the content in blocks of these sizes, and what is left."""
    for size in sizes:
        yield content[:size]
        content = content[size:]
    yield content
