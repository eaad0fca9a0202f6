"""Rows of exports for Hypothesis, whose every text may be hostile to some format."""

import string
from datetime import datetime

from hypothesis import strategies as st

from tests.support.query.exports import export_row

HOSTILE = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n-1", " =1", "\u00a0=cmd|' /C calc'!A0", "\ufeff=1",
    "'=1", "'", "''", "\uff1d1", "a,b", 'say "hi"', '"', '""', "line\nbreak", "cr\r\nlf", "nul\0byte", "\\N",
    "\\", "back\\tslash", "tab\there", "é", "日本", "😀",
    "\u2028", "\x7f", "\x1b[31m", "<script>", "{}", "[]",
    "null", "0", "#", "%s", "__exception__", "\r\n__exception__\r\nabc\r\nCode: 241. DB::Exception",
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text(st.sampled_from("=+-@'\t\r\n \"\\,;" + string.ascii_letters), max_size=8),
)
FLOATS = st.one_of(st.none(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=4,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 31)).map(  # noqa: DTZ001 (UTC, as the texts are)
    lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
)
ROWS = st.builds(
    export_row,
    TEXTS.map(lambda text: text or "r"),
    version=st.integers(0, 2**64 - 1).map(str),
    first_received_at=TIMES,
    sources=st.lists(TEXTS, max_size=2),
    rating=FLOATS,
    vote=TEXTS,
    comment=TEXTS,
    helpful=st.sampled_from((True, False, None)),
    user_id=TEXTS,
    tags=st.lists(TEXTS, max_size=3),
    model=TEXTS,
    cost_usd=FLOATS,
    started_at=st.none() | TIMES,
    data=OBJECTS,
    request=OBJECTS,
)
