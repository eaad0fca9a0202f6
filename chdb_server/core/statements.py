"""SQL taken apart only as far as transport needs: what kind of statement, which format, where data begins.

The engine does the real parsing.  Nothing inside strings, quoted names, comments or brackets counts here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import pairwise

from chdb_server.core.errors import Code, RefusedError

# The lexical rules of ClickHouse: backslashes and doubled quotes escape, `$tag$...$tag$` quotes too, and
# comments begin with `--`, `//`, `# `, `#!` or `/*`, which nests.  What is left open ends nowhere.
_TOKEN = re.compile(
    rb"""
      (?P<comment> /\* )
    | (?P<skip>    --[^\n]*+ | //[^\n]*+ | \#[\ !][^\n]*+
                 | '(?:[^'\\]++|\\.|'')*+(?:'|\\?\Z) | \xe2\x80\x98.*?(?:\xe2\x80\x99|\Z)
                 | \$(?P<tag>\w*+)\$.*?(?:\$(?P=tag)\$|\Z) )
    | (?P<name>    `(?:[^`\\]++|\\.|``)*+(?:`|\\?\Z) | "(?:[^"\\]++|\\.|"")*+(?:"|\\?\Z)
                 | \xe2\x80\x9c.*?(?:\xe2\x80\x9d|\Z) )
    | (?P<word>    \w[\w$]*+ )
    | (?P<mark>    [][().;,] )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: dict[str, str] = dict(zip("Nabefnrtv0\\'\"`/=", ["", *"\a\b\x1b\f\n\r\t\v\0\\'\"`/="], strict=True))
_COMMENT_MARK = re.compile(rb"/\*|\*/")
_DATA_START = re.compile(rb"[ \t\f]*\r?\n?")

READING = frozenset(
    {"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "VALUES"}
)
"""First words of statements that answer with rows and change nothing."""
SELECTING = frozenset({"SELECT", "WITH", "FROM"})
OPENING = frozenset({"FILE", "EVAL"})
"""Functions, in upper case, by which a statement that only reads gets at files: `eval` runs a text as SQL."""


class Kind(Enum):
    """What a token is to transport."""

    WORD = auto()
    QUOTED_NAME = auto()
    MARK = auto()


@dataclass(frozen=True)
class Token:
    """A word (upper case), a quoted name (as written) or a punctuation mark, with its place in the text."""

    kind: Kind
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Statement:
    """One statement.

    sql: what the engine runs; verb: its first word, upper case, empty when there is none; format: the one
    that it names; data: for INSERT ... FORMAT, the parts that follow (`sql` ends before SETTINGS then, and
    `tail` is from there to FORMAT); bare: a query without FORMAT and `;`, fit for a subquery; opens_files:
    whether it could read files that are no tables, or the addresses of others; takes_names: whether a
    parameter of it may be a name.
    """

    sql: bytes
    verb: str = ""
    format: str | None = None
    data: tuple[memoryview, ...] | None = None
    tail: bytes = b""
    bare: bytes = b""
    opens_files: bool = False
    takes_names: bool = False

    @property
    def reads(self) -> bool:
        """Whether it answers with rows and changes nothing."""
        return self.verb in READING

    @property
    def selects(self) -> bool:
        """Whether it is a SELECT, in whatever way it begins."""
        return self.verb in SELECTING


def tokens(text: bytes) -> Iterator[Token]:
    """Yield the words, quoted names and marks of SQL in order; strings and comments are left out."""
    at = 0
    while found := _TOKEN.search(text, at):
        start, at = found.span()
        if found["comment"]:
            at = _comment_end(text, at)
        elif (word := found["word"]) is not None:
            yield Token(Kind.WORD, word.decode().upper(), start, at)
        elif (name := found["name"]) is not None:
            yield Token(Kind.QUOTED_NAME, name.decode(errors="replace"), start, at)
        elif (mark := found["mark"]) is not None:
            yield Token(Kind.MARK, mark.decode(), start, at)


def _comment_end(text: bytes, at: int) -> int:
    depth = 1
    for mark in _COMMENT_MARK.finditer(text, at):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def read(query: bytes, body: bytes = b"") -> Statement:
    """Return the statement of a request: the query in its address, a newline, and its body.

    A body that only holds an INSERT's data is not copied.
    """
    if query:
        head = parse(query + b"\n")
        if head.data is not None:
            return replace(head, data=(*head.data, memoryview(body)))
        body = query + b"\n" + body
    return parse(body)


def parse(text: bytes) -> Statement:
    """Take one statement apart.  RefusedError when it reads or writes files of its own."""
    first = next((token for token in tokens(text) if token.kind is Kind.WORD), None)
    if first is None:
        return Statement(text)
    return _insert(text) if first.text == "INSERT" else _query(text, first.text)


def _insert(text: bytes) -> Statement:
    """Cut an INSERT at its data; tokens are read no further than the statement's end."""
    before: Token | None = None
    settings: int | None = None
    for token in _outer(tokens(text)):
        _refuse_files(before, token)
        # A table may have the name of a clause.
        is_table = before is not None and before.text in ("INTO", "TABLE", ".") and token.text != "TABLE"
        word = token.text if token.kind is Kind.WORD and not is_table else ""
        if before is not None and before.text == "FORMAT" and token.kind is Kind.WORD:
            return _with_data(text, before.start if settings is None else settings, before, token)
        if word == "SETTINGS" and settings is None:
            settings = token.start
        if word in ("SELECT", "WITH"):
            _refuse_input(text)
        if word in ("SELECT", "WITH", "VALUES"):
            break
        before = replace(token, text=word or f"table {token.text}") if token.kind is Kind.WORD else token
    return Statement(text, "INSERT")


def _with_data(text: bytes, settings: int, clause: Token, name: Token) -> Statement:
    blanks = _DATA_START.match(text, name.end)
    data = memoryview(text)[blanks.end() if blanks else name.end :]
    return Statement(
        text[:settings],
        "INSERT",
        text[name.start : name.end].decode(),
        data=(data,),
        tail=text[settings : clause.start],
    )


def _query(text: bytes, verb: str) -> Statement:
    everything = list(tokens(text))
    outer = list(_outer(iter(everything)))
    for before, token in pairwise(outer):
        _refuse_files(before, token)
    words = [token.text for token in outer if token.kind is Kind.WORD]
    if verb == "WITH" and "INSERT" in words:
        verb = "INSERT"
    name, bare = _named_format(text, outer)
    return Statement(
        text,
        verb,
        name,
        bare=bare,
        opens_files=_opens_files(everything),
        takes_names=any(token.text == "IDENTIFIER" for token in everything),
    )


def _outer(stream: Iterator[Token]) -> Iterator[Token]:
    """Leave out whatever is in brackets, and the brackets."""
    depth = 0
    for token in stream:
        if token.kind is Kind.MARK and token.text in "()[]":
            depth += 1 if token.text in "([" else -1
        elif depth <= 0:
            yield token


def _named_format(text: bytes, outer: list[Token]) -> tuple[str | None, bytes]:
    """Return the format of `... FORMAT name [SETTINGS ...]`, and the text without it and a final `;`."""
    end = outer[-1].start if outer and outer[-1].text == ";" else len(text)
    inner = [token for token in outer if token.start < end]
    for at in range(len(inner) - 2, -1, -1):
        word, name = inner[at], inner[at + 1]
        after = inner[at + 2].text if at + 2 < len(inner) else "SETTINGS"
        if (word.kind, name.kind) == (Kind.WORD, Kind.WORD) and word.text == "FORMAT" and after == "SETTINGS":
            return text[name.start : name.end].decode(), text[: word.start] + text[name.end : end]
    return None, text[:end]


def _refuse_files(before: Token | None, token: Token) -> None:
    if before is not None and (before.text, token.text) in (("FROM", "INFILE"), ("INTO", "OUTFILE")):
        raise RefusedError(Code.UNSUPPORTED_METHOD, "INFILE and OUTFILE are not allowed over HTTP.")


def _refuse_input(text: bytes) -> None:
    """Refuse INSERT ... SELECT ... FROM input(...): the engine takes it, and drops the data."""
    if any(name == "INPUT" and after.text == "(" for name, after in _named(list(tokens(text)))):
        raise RefusedError(Code.NOT_IMPLEMENTED, "The table function input is not supported here.")


def _named(everything: list[Token]) -> Iterator[tuple[str, Token]]:
    """Yield what each token names, in upper case, and the token behind it."""
    return ((name_of(token).upper(), after) for token, after in pairwise(everything))


def name_of(token: Token) -> str:
    """Return the name that a token is, as the engine reads it: without quotes and escapes."""
    if token.kind is not Kind.QUOTED_NAME:
        return token.text
    return _ESCAPE.sub(_unescaped, token.text[1:-1])


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return _ESCAPED.get(escape[2], str(escape[0]))


def _opens_files(everything: list[Token]) -> bool:
    """Tell whether a query names a function that opens files, or describes what only a function can show.

    Some functions take the name of another as their first argument, and APPLY takes one without brackets.
    """
    before = ""
    for name, after in _named([*everything, Token(Kind.MARK, ";", 0, 0)]):
        if name in OPENING and (after.text == "(" or before in ("(", "APPLY")):
            return True
        before = name
    words = [token for token in everything if token.text != "TABLE"]
    return any(
        one.text in ("DESCRIBE", "DESC") and two.kind is not Kind.MARK and three.text == "("
        for one, two, three in zip(words, words[1:], words[2:], strict=False)
        if one.text == "DESCRIBE" or one is words[0]
    )
