"""What every dialect does with any body."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import is_request_id
from services.ingest.core.errors import Rejection
from services.ingest.core.event import event_bytes
from services.ingest.dialects import DIALECTS
from services.ingest.dialects.dialect import (
    Dialect,
    DialectCall,
    ItemsRoute,
    Route,
    SingleRoute,
    Submission,
)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)

READ = [
    (dialect, route)
    for dialect in DIALECTS
    for route in dialect.routes
    if isinstance(route, ItemsRoute | SingleRoute) and route.has_body
]
each_reader = pytest.mark.parametrize(
    ("dialect", "route"), READ, ids=[f"{dialect.name} {route.path}" for dialect, route in READ]
)


def submissions(route: Route, body: bytes) -> Iterator[Submission]:
    """Yield what a body becomes; raise Rejection."""
    if isinstance(route, SingleRoute):
        yield route.read("r", body)
    elif isinstance(route, ItemsRoute):
        call = DialectCall(
            "r", body, route.media_types[0], "", "", datetime(2026, 5, 1, tzinfo=UTC), b"nonce"
        )
        contents = [item.content for item in route.read_items(call)]
        yield from (content for content in contents if isinstance(content, Submission))


@st.composite
def changed(draw: st.DrawFn, example: Any) -> Any:
    """Return an example in which any one part is something else, or is missing."""
    members = list(example.items() if isinstance(example, dict) else enumerate(_items(example)))
    if not members or draw(st.integers(0, 3)) == 0:
        return draw(values)
    key, inner = draw(st.sampled_from(members))
    rest = [(name, value) for name, value in members if name != key]
    if draw(st.booleans()):
        rest.append((key, draw(changed(inner))))
    return dict(rest) if isinstance(example, dict) else [value for _, value in rest]


def _items(example: Any) -> list[Any]:
    return example if isinstance(example, list) else []


@each_reader
@given(data=st.data())
def test_a_body_is_read_or_rejected(dialect: Dialect, route: Route, data: st.DataObject) -> None:
    """Whatever JSON it is; what is read can be written as an event."""
    example = route.doc.body if route.doc is not None else None
    value = data.draw(changed(example))
    with suppress(Rejection):
        for submission in submissions(route, json.dumps(value).encode()):
            assert is_request_id(submission.request_id)
            event_bytes("t", dialect.name, submission, "e", "2026-05-01T00:00:00Z", idempotent=False)


@each_reader
@given(st.binary(max_size=40))
def test_bytes_are_read_or_rejected(dialect: Dialect, route: Route, body: bytes) -> None:
    """Whatever they are."""
    with suppress(Rejection):
        assert all(is_request_id(submission.request_id) for submission in submissions(route, body)), (
            dialect.name
        )
