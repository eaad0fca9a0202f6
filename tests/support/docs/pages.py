"""Pages of documentation, read as examples that a test can execute.

What a fenced block means is said by its language and by the words after it:

    sh                commands for a user's shell; what they print is the `output` block that follows, if any
    sh eventually     the same, tried again until it prints that
    sh exit=1         the same, ending with that exit code
    sh elsewhere      commands that no test of a page can run; each one names the test that does
    sh compose        the same as sh, on the stack of the compose file: make compose-test runs it
    sql               one statement; the table right after it is its result, sooner or later
    sql server        a statement that only a ClickHouse server carries out; the engine here parses it
    python            a program; what it prints is the `output` block that follows, if any
    nginx             a part of nginx's configuration, which tests/integration/clients runs
    js                a module, which tests/integration/clients runs in Node, with its `output`
    html              a part of a page, which tests/integration/clients opens in a browser
    json NAME         a document of the schema NAME, such as feedback-event.v1
    json              any JSON document
    text, json ...output   what the example above it prints
    text              a picture or a formula: nothing that could be run

Any other block is a DocumentError, and so is a `sql` block without its result: what no test executes is
not documentation but a hope.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[3]

RUNNABLE = ("sh", "sql", "python")
ALLOWED_WORDS = {
    "sh": ("eventually", "elsewhere", "exit", "compose"),
    "sql": ("server",),
    "python": (),
    "nginx": (),
    "js": (),
    "html": (),
    "text": ("output",),
}


class DocumentError(Exception):
    """A page has a block of which nobody can say whether it is true."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the line where it opens, its language, the words behind that, its text."""

    line: int
    language: str
    words: tuple[str, ...]
    text: str


class Rows(NamedTuple):
    """A table: its header and its rows, as the text of each cell."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Example:
    """A block, and what it is said to give."""

    block: Block
    output: Block | None = None
    rows: Rows | None = None

    @property
    def needs_a_stack(self) -> bool:
        """Return whether the example needs running services."""
        elsewhere = {"elsewhere", "compose"}.intersection(self.block.words)
        return self.block.language in ("sh", "sql") and not elsewhere


def pages(root: Path = ROOT) -> list[Path]:
    """Return every page of documentation of the repository, in a stable order."""
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def tokens(text: str) -> list[Token]:
    """Return the page's Markdown tokens, tables included."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def examples(text: str) -> list[Example]:
    """Return the page's examples in order; DocumentError at the first block that is none."""
    found: list[Example] = []
    for item in _items(tokens(text)):
        match item:
            case Rows() if _awaits_rows(found):
                found[-1] = replace(found[-1], rows=item)
            case Block() if "output" in item.words:
                found[-1:] = [_with_output(found, item)]
            case Block():
                _complete(found)
                found.append(Example(_understood(item)))
            case _:
                _complete(found)
    _complete(found)
    return found


def examples_of(page: Path) -> list[Example]:
    """Return the examples of a page; DocumentError names the page."""
    try:
        return examples(page.read_text(encoding="utf-8"))
    except DocumentError as error:
        raise DocumentError(f"{page.name}, {error}") from None


def tables(page: Path) -> list[Rows]:
    """Return every table of a page."""
    return [item for item in _items(tokens(page.read_text(encoding="utf-8"))) if isinstance(item, Rows)]


def _items(stream: Sequence[Token]) -> Iterator[Block | Rows | str]:
    """Yield blocks, tables, and the type of anything else that opens at the top of the page."""
    for position, token in enumerate(stream):
        if token.type == "fence":
            language, *words = token.info.split() or [""]
            yield Block((token.map or [0])[0] + 1, language, tuple(words), token.content)
        elif token.type == "table_open":
            yield _rows(stream[position:])
        elif token.level == 0 and token.nesting == 1:
            yield token.type


def _rows(stream: Sequence[Token]) -> Rows:
    rows: list[list[str]] = []
    for token in stream:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_cell(token.content))
    return Rows(rows[0], rows[1:])


def _cell(content: str) -> str:
    """Return what a cell means: code spans stand for their text."""
    return content.replace("`", "").replace("\\_", "_").replace("\\*", "*").strip()


def _awaits_rows(found: Sequence[Example]) -> bool:
    return bool(found) and found[-1].rows is None and _needs_rows(found[-1].block)


def _needs_rows(block: Block) -> bool:
    return block.language == "sql" and "server" not in block.words


def _with_output(found: Sequence[Example], output: Block) -> Example:
    if not found or found[-1].output or found[-1].block.language not in ("sh", "python", "js"):
        raise DocumentError(f"line {output.line}: an output without an example above it")
    return replace(found[-1], output=output)


def _complete(found: Sequence[Example]) -> None:
    if _awaits_rows(found):
        raise DocumentError(f"line {found[-1].block.line}: a statement without its result right after it")


def _understood(block: Block) -> Block:
    if block.language == "json" and len(block.words) <= 1:
        return block
    allowed = ALLOWED_WORDS.get(block.language)
    if allowed is None or any(word.partition("=")[0] not in allowed for word in block.words):
        kind = " ".join((block.language or "(no language)", *block.words))
        raise DocumentError(f"line {block.line}: no test knows how to execute a block of kind {kind!r}")
    return block
