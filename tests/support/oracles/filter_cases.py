"""Rows and filters that meet: both are made of the same few values, so that filters find something."""

from typing import Any

from hypothesis import strategies as st

from services.query.reads.core.filters import SENTIMENTS, VOTES

WHOLE = (0, 1, 3, 5, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1)
FRACTIONS = (0.5, 2.5, 4.0, 0.1 + 0.2, 1e-05, 1e300, 5e-324, 9007199254740992.0, -0.0)
TEXTS = (
    "gpt-4", "a", "b", "5", "true", "null", "é", "日本", "O'Brien", 'say "hi"', "back\\slash", "tab\there",
    "new\nline", "nul\0byte", "{p0:String}", "'; DROP TABLE feedback_state; --", "%", "_", "lt:5", " ", "😀",
)  # fmt: skip
WORDS = (
    "Great",
    "slow",
    "naïve",
    "ÉCOLE",
    "école",
    "日本語テスト",
    "語",
    "foo_bar",
    "12ab",
    "3.5",
    "don't",
    "ΩMEGA",
)
KEYS = ("judge", "a.b", 'quo"te', "back\\slash", "nul\0key", "1", "-1", "é", "user id", "session_id", "x=y&z")
TAGS = ("wrong", "slow", "it's", "a,b", "['x']", "été", "5")
MOMENTS = tuple(
    f"2026-11-{day:02}T{hour:02}:00:00.{micro:06}Z"
    for day in (1, 9, 20)
    for hour, micro in ((0, 0), (9, 1), (9, 2))
)
RATINGS = (
    1,
    2,
    3,
    4.5,
    5,
    0,
    10,
    "amazing",
    "positive",
    "negative",
    "5",
    " Amazing ",
    "bad",
    True,
    False,
    None,
    [5],
)

SCALARS: st.SearchStrategy[Any] = st.sampled_from((None, True, False, *WHOLE, *FRACTIONS, *TEXTS))
VALUES: st.SearchStrategy[Any] = st.one_of(
    SCALARS, SCALARS, st.lists(SCALARS, max_size=2), st.just({"a": 1}), st.just({})
)
TEXTUAL: st.SearchStrategy[Any] = st.sampled_from((None, True, False, *WHOLE, *TEXTS))
"""Values of which text is made: each has one text only, which a double has not."""
COMMENTS = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=3).map(", ".join),
    TEXTUAL,
)
TAG_LISTS = st.one_of(st.lists(st.sampled_from((*TAGS, "", 5, None)), max_size=3), SCALARS)

DATA = st.fixed_dictionaries(
    {},
    optional={
        "rating": st.sampled_from(RATINGS),
        "comment": COMMENTS,
        "message": COMMENTS,
        "tags": TAG_LISTS,
        "user_id": TEXTUAL,
        **dict.fromkeys(KEYS, VALUES),
        "session_id": TEXTUAL,
    },
)
REQUEST = st.fixed_dictionaries(
    {},
    optional={
        "model": TEXTUAL,
        "provider": TEXTUAL,
        "user_id": TEXTUAL,
        "latency_ms": SCALARS,
        "cost_usd": SCALARS,
        "started_at": st.sampled_from(MOMENTS),
        **dict.fromkeys(KEYS, VALUES),
        "session_id": TEXTUAL,
    },
)


@st.composite
def rows(draw: st.DrawFn, request_id: str) -> dict[str, Any]:
    """Return what a state row says of one request, without its revision."""
    first, last = sorted((draw(st.sampled_from(MOMENTS)), draw(st.sampled_from(MOMENTS))))
    return {
        "request_id": request_id,
        "first_received_at": first,
        "last_received_at": last,
        "sources": sorted(draw(st.sets(st.sampled_from(("gptboost", "native", "requesty")), min_size=1))),
        "data": draw(DATA),
        "request": draw(REQUEST),
    }


_NUMBERS = st.sampled_from((*WHOLE, *FRACTIONS, 4.5, 2)).map(repr)
_TEXTS = st.sampled_from(TEXTS)
_OPERANDS = st.one_of(
    _NUMBERS, _TEXTS, st.sampled_from(("true", "false", "[5]", "18446744073709551616", "1e400"))
)
_COMPARISONS = st.one_of(
    st.tuples(st.sampled_from(("eq", "ne", "lt", "le", "gt", "ge")), _OPERANDS).map(":".join),
    st.sampled_from(("exists:true", "exists:false")),
)
_SWITCHES = st.sampled_from(("true", "false"))
_ONE = st.one_of(
    st.tuples(
        st.sampled_from([f"{part}.{key}" for part in ("data", "request") for key in KEYS]), _COMPARISONS
    ),
    st.tuples(st.sampled_from(("vote",)), st.sampled_from(VOTES)),
    st.tuples(st.just("sentiment"), st.sampled_from(SENTIMENTS)),
    st.tuples(
        st.just("rating"), st.one_of(_NUMBERS, st.sampled_from(("amazing", "positive", "negative", "5", "4")))
    ),
    st.tuples(st.just("tag"), st.sampled_from(TAGS)),
    st.tuples(st.sampled_from(("model", "provider")), st.one_of(_TEXTS, _NUMBERS)),
    st.tuples(st.just("source"), st.sampled_from(("gptboost", "native", "nobody"))),
)
_ALONE = st.fixed_dictionaries(
    {},
    optional={
        "rating_min": _NUMBERS,
        "rating_max": _NUMBERS,
        "user_id": st.one_of(_TEXTS, _NUMBERS),
        "session_id": st.one_of(_TEXTS, _NUMBERS),
        "has_comment": _SWITCHES,
        "has_feedback": _SWITCHES,
        "orphan": _SWITCHES,
        "q": st.lists(st.sampled_from((*WORDS, "great", "foo", "BAR", "本")), min_size=1, max_size=2).map(
            " ".join
        ),
        **dict.fromkeys(("from", "to", "first_from", "first_to"), st.sampled_from((*MOMENTS, "2026-11-09"))),
    },
)


def parameters() -> st.SearchStrategy[list[tuple[str, str]]]:
    """Return filters as a reader sends them: some repeatable ones, and now and then others."""
    few = _ALONE.map(lambda alone: list(alone.items())[:2])
    return st.one_of(
        st.lists(_ONE, min_size=1, max_size=3),
        few,
        st.tuples(st.lists(_ONE, max_size=1), few).map(lambda two: two[0] + two[1]),
    )
