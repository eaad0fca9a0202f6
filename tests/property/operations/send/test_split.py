"""Cutting a file into entries: the same entries, however the bytes arrive, from any place."""

import csv
import json
from contextlib import suppress
from io import StringIO
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.operations.send.core.split import (
    BrokenFileError,
    FileLayout,
    FilePosition,
    LineSplitter,
    SendEntry,
    Splitter,
    layout_of,
    splitter,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab"\\,[]{}\n é', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("a,{", max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
events = st.lists(st.dictionaries(st.text("k[", max_size=2), values, max_size=3), max_size=6)
gaps = st.text(" \n\t\r", max_size=3)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, FileLayout, list[Any], list[int]]:
    """A file, its layout, its events and the line of each, by an own count."""
    held = draw(events)
    layout = draw(st.sampled_from([FileLayout.LINES, FileLayout.ARRAY, FileLayout.VALUES]))
    if layout is FileLayout.LINES or (layout is FileLayout.VALUES and not held):
        return _lines(draw, held)
    text, numbers = (
        draw(st.sampled_from(["", "\ufeff", "\n"])) + ("[" if layout is FileLayout.ARRAY else ""),
        [],
    )
    for index, event in enumerate(held):
        text += draw(gaps)
        numbers.append(text.count("\n") + 1)
        # Indented, so that its first line does not end it: that is what tells values from lines.
        text += json.dumps({"first": event}, indent=1, ensure_ascii=draw(st.booleans())) + draw(gaps)
        text += "," if layout is FileLayout.ARRAY and index < len(held) - 1 else ""
    text += "]" + draw(gaps) if layout is FileLayout.ARRAY else ""
    return text.encode(), layout, [{"first": event} for event in held], numbers


def _lines(draw: st.DrawFn, held: list[Any]) -> tuple[bytes, FileLayout, list[Any], list[int]]:
    text, numbers = draw(st.sampled_from(["", "\ufeff", "\n \n"])), []
    for event in held:
        numbers.append(text.count("\n") + 1)
        text += json.dumps(event) + draw(st.sampled_from(["\n", "\r\n", "\n\n", " \n"]))
    return (text if draw(st.booleans()) else text.rstrip("\r\n")).encode(), FileLayout.LINES, held, numbers


def entries_of(blocks: list[bytes], split: Splitter) -> list[SendEntry]:
    """Return what a splitter makes of these blocks."""
    found = [entry for block in blocks for entry in split.feed(block)]
    return [*found, *split.finish()]


def cut(content: bytes, at: list[int]) -> list[bytes]:
    """Return the content in blocks that end at these places."""
    places = sorted({0, *(place % (len(content) + 1) for place in at), len(content)})
    return [content[start:end] for start, end in pairwise(places)]


@given(files(), st.lists(st.integers(0, 2000), max_size=8))
def test_entries_do_not_depend_on_how_the_bytes_arrive(
    file: tuple[bytes, FileLayout, list[Any], list[int]], at: list[int]
) -> None:
    """Every event is found once, with its line, whatever the blocks."""
    content, layout, held, numbers = file
    split = splitter(layout, FilePosition())

    entries = entries_of(cut(content, at), split)

    assert [json.loads(entry.text) for entry in entries] == held
    assert [entry.line for entry in entries] == numbers
    assert split.place._replace(items=0) == FilePosition().after(content)


@given(files(), st.integers(0, 5))
def test_any_end_of_an_entry_is_a_place_to_resume_from(
    file: tuple[bytes, FileLayout, list[Any], list[int]], number: int
) -> None:
    """What a resumed run reads is what the first run would have read next."""
    content, layout, held, _ = file
    entries = entries_of([content], splitter(layout, FilePosition()))
    if not held:
        return
    place = entries[number % len(held)].end

    # Only the last entry of an array ends it.
    rest = splitter(layout, place, ended=place == entries[-1].end)

    assert place._replace(items=0) == FilePosition().after(content[: place.offset])
    assert entries_of([content[place.offset :]], rest) == entries[number % len(held) + 1 :]


@given(files())
def test_the_layout_is_seen_from_the_beginning(file: tuple[bytes, FileLayout, list[Any], list[int]]) -> None:
    """Nobody has to say which kind of file it is."""
    content, layout, held, _ = file

    if held or layout is FileLayout.ARRAY:
        assert layout_of(content) is layout


def test_a_long_line_that_never_closes_is_seen_through_once() -> None:
    """Trying again from each of its bytes would take hours."""
    assert layout_of(b'{"a": "' + b"x" * (1 << 20) + b"\n") is FileLayout.VALUES


@given(
    st.lists(
        st.binary(max_size=12).filter(lambda line: b"\n" not in line and line.strip(b" \t\r")), max_size=6
    )
)
@example([b'{"a": "', b"}", b'"'])
def test_any_bytes_are_lines(lines: list[bytes]) -> None:
    """A line that is nonsense is an entry, and the next line is another."""
    entries = entries_of([b"".join(line + b"\n" for line in lines)], LineSplitter(FilePosition()))

    assert [entry.line for entry in entries if entry.text] == [
        number
        for number, line in enumerate(lines, 1)
        if line.strip(b" \t\r\xef\xbb\xbf" if number == 1 else b" \t\r")
    ]


rows = st.lists(st.lists(st.text('ab",;\n\r é', max_size=6), min_size=2, max_size=3), max_size=6)


@given(rows, st.lists(st.integers(0, 2000), max_size=8), st.integers(0, 5), st.sampled_from(["\n", "\r\n"]))
def test_rows_of_csv_are_those_of_the_csv_module(
    rows: list[list[str]], at: list[int], number: int, end: str
) -> None:
    """With quotes and line breaks in cells, whatever the blocks, and from the end of any row."""
    file = StringIO(newline="")
    csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    content = file.getvalue().encode()
    split = splitter(FileLayout.CSV, FilePosition())

    entries = entries_of(cut(content, at), split)

    assert [next(csv.reader(StringIO(entry.text.decode(), newline=""))) for entry in entries] == rows
    assert split.place == FilePosition().after(content)
    for entry, row in zip(entries, rows, strict=True):
        assert content.split(b"\n")[entry.line - 1].decode().startswith('"' + row[0].partition("\n")[0][:1])
    if entries:
        place = entries[number % len(entries)].end
        rest = entries_of([content[place.offset :]], splitter(FileLayout.CSV, place))
        assert rest == entries[number % len(entries) + 1 :]


@given(files(), st.integers(1, 400))
def test_a_file_cut_short_is_distinguished_from_a_whole_one(
    file: tuple[bytes, FileLayout, list[Any], list[int]], missing: int
) -> None:
    """What stands before the cut is read; what is cut is an error or a malformed entry, never an event."""
    content, layout, held, _ = file
    short = content[: max(0, len(content) - missing)]
    split = splitter(layout, FilePosition())

    found: list[SendEntry] = []
    with suppress(BrokenFileError):
        found.extend(split.feed(short))
        found.extend(split.finish())

    whole = [json.loads(entry.text) for entry in found if _is_json(entry.text)]
    assert whole == held[: len(whole)]


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
