"""Parses SQL as far as the interface needs: the kind of statement, its format, the start of INSERT's data.

The engine does the real parsing.  Text inside strings, quoted names, comments and brackets is ignored here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import pairwise

from chdb_server.core.errors import ClickHouseCode, QueryRefusedError

# The lexical rules of ClickHouse: backslashes and doubled quotes escape, `$tag$...$tag$` quotes too, and
# comments begin with `--`, `//`, `# `, `#!` or `/*`, which nests.  Open ones extend to the end of the text.
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
"""First words of statements that return rows and change nothing."""
SELECTING = frozenset({"SELECT", "WITH", "FROM"})
OPENING = frozenset({"FILE", "EVAL"})
"""Functions, in upper case, by which a reading statement can open files: `eval` runs a text as SQL."""


class TokenKind(Enum):
    """The kinds of tokens that matter here."""

    WORD = auto()
    QUOTED_NAME = auto()
    MARK = auto()


@dataclass(frozen=True)
class Token:
    """A word (upper case), a quoted name (as written) or a punctuation mark, with its position."""

    kind: TokenKind
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class SqlStatement:
    """One statement.

    sql: the text for the engine; verb: its first word in upper case, empty if there is none; format: the
    named one; data: for INSERT ... FORMAT, the parts that follow (then `sql` ends before SETTINGS, and `tail`
    extends from there to FORMAT); bare: a query without FORMAT and `;`, usable as a subquery; opens_files:
    whether it could read files or URLs; takes_names: whether one of its parameters may be a name.
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
        """Whether it returns rows and changes nothing."""
        return self.verb in READING

    @property
    def selects(self) -> bool:
        """Whether it is a SELECT, with any of its first words."""
        return self.verb in SELECTING


def tokens(text: bytes) -> Iterator[Token]:
    """Yield the words, quoted names and marks of SQL in order, without strings and comments."""
    at = 0
    while found := _TOKEN.search(text, at):
        start, at = found.span()
        if found["comment"]:
            at = _comment_end(text, at)
        elif (word := found["word"]) is not None:
            yield Token(TokenKind.WORD, word.decode().upper(), start, at)
        elif (name := found["name"]) is not None:
            yield Token(TokenKind.QUOTED_NAME, name.decode(errors="replace"), start, at)
        elif (mark := found["mark"]) is not None:
            yield Token(TokenKind.MARK, mark.decode(), start, at)


def _comment_end(text: bytes, at: int) -> int:
    depth = 1
    for mark in _COMMENT_MARK.finditer(text, at):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def read(query: bytes, body: bytes = b"") -> SqlStatement:
    """Return the statement of a request: the query in its URL, a newline, and its body.

    A body that only contains an INSERT's data is not copied.
    """
    if query:
        head = parse(query + b"\n")
        if head.data is not None:
            return replace(head, data=(*head.data, memoryview(body)))
        body = query + b"\n" + body
    return parse(body)


def parse(text: bytes) -> SqlStatement:
    """Parse one statement.  QueryRefusedError if it has INFILE or OUTFILE."""
    first = next((token for token in tokens(text) if token.kind is TokenKind.WORD), None)
    if first is None:
        return SqlStatement(text)
    return _insert(text) if first.text == "INSERT" else _query(text, first.text)


def _insert(text: bytes) -> SqlStatement:
    """Split an INSERT at its data; tokens are read only up to the statement's end."""
    before: Token | None = None
    settings: int | None = None
    for token in _outer(tokens(text)):
        _refuse_files(before, token)
        # A table may have the name of a clause.
        is_table = before is not None and before.text in ("INTO", "TABLE", ".") and token.text != "TABLE"
        word = token.text if token.kind is TokenKind.WORD and not is_table else ""
        if before is not None and before.text == "FORMAT" and token.kind is TokenKind.WORD:
            return _with_data(text, before.start if settings is None else settings, before, token)
        if word == "SETTINGS" and settings is None:
            settings = token.start
        if word in ("SELECT", "WITH"):
            _refuse_input(text)
        if word in ("SELECT", "WITH", "VALUES"):
            break
        before = replace(token, text=word or f"table {token.text}") if token.kind is TokenKind.WORD else token
    return SqlStatement(text, "INSERT")


def _with_data(text: bytes, settings: int, clause: Token, name: Token) -> SqlStatement:
    blanks = _DATA_START.match(text, name.end)
    data = memoryview(text)[blanks.end() if blanks else name.end :]
    return SqlStatement(
        text[:settings],
        "INSERT",
        text[name.start : name.end].decode(),
        data=(data,),
        tail=text[settings : clause.start],
    )


def _query(text: bytes, verb: str) -> SqlStatement:
    everything = list(tokens(text))
    outer = list(_outer(iter(everything)))
    for before, token in pairwise(outer):
        _refuse_files(before, token)
    words = [token.text for token in outer if token.kind is TokenKind.WORD]
    if verb == "WITH" and "INSERT" in words:
        verb = "INSERT"
    name, bare = _named_format(text, outer)
    return SqlStatement(
        text,
        verb,
        name,
        bare=bare,
        opens_files=_opens_files(everything),
        takes_names=any(token.text == "IDENTIFIER" for token in everything),
    )


def _outer(stream: Iterator[Token]) -> Iterator[Token]:
    """Yield the tokens outside of brackets, without the brackets."""
    depth = 0
    for token in stream:
        if token.kind is TokenKind.MARK and token.text in "()[]":
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
        if (
            (word.kind, name.kind) == (TokenKind.WORD, TokenKind.WORD)
            and word.text == "FORMAT"
            and after == "SETTINGS"
        ):
            return text[name.start : name.end].decode(), text[: word.start] + text[name.end : end]
    return None, text[:end]


def _refuse_files(before: Token | None, token: Token) -> None:
    if before is not None and (before.text, token.text) in (("FROM", "INFILE"), ("INTO", "OUTFILE")):
        raise QueryRefusedError(
            ClickHouseCode.UNSUPPORTED_METHOD, "INFILE and OUTFILE are not allowed over HTTP."
        )


def _refuse_input(text: bytes) -> None:
    """Refuse INSERT ... SELECT ... FROM input(...): the engine accepts it, and discards the data."""
    if any(name == "INPUT" and after.text == "(" for name, after in _named(list(tokens(text)))):
        raise QueryRefusedError(
            ClickHouseCode.NOT_IMPLEMENTED, "The table function input is not supported here."
        )


def _named(everything: list[Token]) -> Iterator[tuple[str, Token]]:
    """Yield the name of each token in upper case, with the following token."""
    return ((name_of(token).upper(), after) for token, after in pairwise(everything))


def name_of(token: Token) -> str:
    """Return a token's name as the engine reads it: without quotes and escapes."""
    if token.kind is not TokenKind.QUOTED_NAME:
        return token.text
    return _ESCAPE.sub(_unescaped, token.text[1:-1])


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return _ESCAPED.get(escape[2], str(escape[0]))


def _opens_files(everything: list[Token]) -> bool:
    """Return whether a query calls a function that opens files, or describes the result of a function.

    Some functions take the name of another as their first argument, and APPLY takes one without brackets.
    """
    before = ""
    for name, after in _named([*everything, Token(TokenKind.MARK, ";", 0, 0)]):
        if name in OPENING and (after.text == "(" or before in ("(", "APPLY")):
            return True
        before = name
    words = [token for token in everything if token.text != "TABLE"]
    return any(
        verb.text in ("DESCRIBE", "DESC") and name.kind is not TokenKind.MARK and bracket.text == "("
        for verb, name, bracket in zip(words, words[1:], words[2:], strict=False)
        if verb.text == "DESCRIBE" or verb is words[0]
    )
