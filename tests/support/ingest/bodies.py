"""Bodies that clients may send, good and bad, and an oracle of what may be accepted.

The oracle is written on the `json` module from the rules.  It knows nothing of the service's decoders: it
walks the value that `json` reads, and says yes or no.
"""

import json
import math
from typing import Any

from hypothesis import strategies as st


class Refused(Exception):  # noqa: N818
    """The oracle says no."""


def refuse(_text: str) -> Any:
    """Refuse NaN and Infinity, which `json` would read."""
    raise Refused


def check(value: Any, depth: int) -> None:
    """Walk a value, each object and list one level deeper."""
    if isinstance(value, str):
        value.encode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise Refused
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused
    if isinstance(value, dict | list):
        if depth > 16:
            raise Refused
        if isinstance(value, dict):
            check_keys(value)
        for item in value.values() if isinstance(value, dict) else value:
            check(item, depth + 1)


def check_keys(value: dict[str, Any]) -> None:
    """Look at the keys of one object."""
    for key in value:
        key.encode()
        if not 1 <= len(key) <= 256:
            raise Refused


def fields(value: Any) -> dict[str, Any]:
    """Return an object of free-form keys that may be accepted."""
    if not isinstance(value, dict) or len(value) > 256:
        raise Refused
    check(value, 1)
    return value


def read(body: bytes) -> Any:
    """Read JSON as the standard library does, strict UTF-8 and no byte order mark."""
    return json.loads(body.decode("utf-8"), parse_constant=refuse)


SMALL_NUMBERS = ("0", "-0", "1", "-1", "5", "1.5", "1E5", "0.1000000000000000055511151231257827")
EDGES = (
    *("9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616"),
    *("-9223372036854775808", "-9223372036854775809", "99999999999999999999999", "123456789012345678901.5"),
    *("1e308", "1e309", "-1e309", "1e-400"),
)
NOT_NUMBERS = ("01", "1.", ".5", "+1", "-", "1e", "NaN", "Infinity", "-Infinity")
numbers = st.sampled_from((*SMALL_NUMBERS, *EDGES, *NOT_NUMBERS))
texts = st.sampled_from(
    [
        '""',
        '"a"',
        '"rating"',
        r'"\u0000"',
        r'"\ud800"',
        r'"\udc00"',
        r'"\ud83d\ude00"',
        r'"\udc00\ud800"',
        r'"\ud800a"',
        r'"\n\/"',
        r'"\x"',
        r'"\u00"',
        '"é"',
        '"😀"',
        '"' + "k" * 256 + '"',
        '"' + "k" * 257 + '"',
        '"' + "😀" * 256 + '"',
        '"' + "😀" * 257 + '"',
        '"\x01"',
        '"{[{["',
        "'a'",
    ]
)
tame_texts = st.integers(0, 9).map(lambda number: f'"k{number}"')
scalars = st.one_of(
    st.integers(-99, 99).map(str),
    tame_texts,
    st.sampled_from(["true", "false", "null", "nul"]),
    numbers,
    texts,
)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return the texts of objects with these values; keys repeat, and some are not allowed."""
    pairs = st.tuples(st.one_of(tame_texts, tame_texts, texts), values).map(" : ".join)
    return st.lists(pairs, max_size=4).map(lambda members: "{" + ",".join(members) + "}")


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return the texts of lists of these values."""
    return st.lists(values, max_size=3).map(lambda items: "[" + ",".join(items) + "]")


values = st.recursive(scalars, lambda inner: st.one_of(objects(inner), lists(inner)), max_leaves=12)
nests = st.integers(0, 20).flatmap(
    lambda depth: st.lists(st.booleans(), min_size=depth, max_size=depth).map(
        lambda kinds: (
            '{"x":'
            + "".join("[" if kind else '{"a":' for kind in kinds)
            + "1"
            + "".join("]" if kind else "}" for kind in reversed(kinds))
            + "}"
        )
    )
)
wides = st.sampled_from([255, 256, 257, 300]).map(
    lambda count: "{" + ",".join(f'"k{number}":{number}' for number in range(count)) + "}"
)
data = st.one_of(objects(values), objects(values), nests, wides, values)
tails = st.sampled_from(["", "", "", ',"other":[1e999]', ',"data":{"z":1}', ',"other":"\\ud800"', ",", "}"])
bodies = st.builds('{{"data":{}{}}}'.format, data, tails).map(str.encode)
spoiled = st.builds(
    lambda body, place, byte: body[: place % (len(body) + 1)] + byte + body[place % (len(body) + 1) + 1 :],
    bodies,
    st.integers(0, 10_000),
    st.sampled_from([b"", b"\xff", b"\xed\xa0\x80", b"\x00", b'"', b"\\", b"{", b"]", b"9", b","]),
)
