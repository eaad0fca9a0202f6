"""SQL that says in strings, names and comments what must not count there; for Hypothesis."""

from hypothesis import strategies as st

_TEMPTING = st.sampled_from(
    [
        *("FORMAT", "CSV", "INSERT INTO t", "INTO OUTFILE 'x'", "SELECT", "VALUES", ";", "(", ")", "'", '"'),
        *("`", "--", "/*", "*/", "$a$", "#!", "\\", "\\'", "''", "``", "\n", "é", "\0"),
        *("\u2018", "\u2019", "\u201c", "\u201d"),
    ]
)
_TEXT = st.lists(_TEMPTING | st.text(max_size=5), max_size=6).map(" ".join)


def _escaped(text: str, quote: str) -> str:
    return text.replace("\\", "\\\\").replace(quote, "\\" + quote)


def _doubled(text: str, quote: str) -> str:
    return text.replace("\\", "\\\\").replace(quote, quote * 2)


def _quoted(quote: str) -> st.SearchStrategy[str]:
    ways = st.sampled_from([_escaped, _doubled])
    return st.builds(lambda way, text: f"{quote}{way(text, quote)}{quote}", ways, _TEXT)


strings = _quoted("'") | _TEXT.filter(lambda text: "$tag$" not in text).map(lambda text: f"$tag${text}$tag$")
"""String literals, in both ways of writing them."""

# ClickHouse takes no empty names.
names = (_quoted("`") | _quoted('"')).filter(lambda name: len(name) > 2)
"""Quoted names."""

comments = (
    _TEXT.map(lambda text: "-- " + text.replace("\n", " ") + "\n")
    | _TEXT.map(lambda text: "#!" + text.replace("\n", " ") + "\n")
    | st.recursive(
        _TEXT.map(lambda text: text.replace("*", "").replace("/", "")),
        lambda inner: st.lists(inner, min_size=1, max_size=2).map(lambda parts: f"/* {'x'.join(parts)} */"),
        max_leaves=3,
    ).map(lambda text: f"/*{text}*/")
)
"""Comments of all kinds; those in `/*` and `*/` nest."""

gaps = st.lists(comments | st.sampled_from([" ", "\n", "\t"]), max_size=3).map(
    lambda parts: f" {''.join(parts)} "
)
"""What may stand between two tokens."""


@st.composite
def selects(draw: st.DrawFn) -> str:
    """Draw a SELECT of literals under quoted names, without a format: valid, and full of temptations."""
    columns = draw(st.lists(st.tuples(strings, names), min_size=1, max_size=3))
    parts = ["SELECT"]
    for number, (string, name) in enumerate(columns):
        parts += [draw(gaps), "," if number else "", string, draw(gaps), "AS", draw(gaps), name]
    return "".join(parts) + draw(gaps)
