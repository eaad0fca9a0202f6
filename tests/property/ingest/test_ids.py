"""Ids of events, and ids of requests in paths."""

from contextlib import suppress
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import is_request_id
from services.ingest.core.errors import Rejection
from services.ingest.core.event import Stamp, idempotent_id
from services.ingest.core.router import Router, redacted, request_id_of
from services.ingest.dialects import DIALECTS

request_ids = st.text(min_size=1, max_size=40).filter(is_request_id)
Name = tuple[str, str, str, int]
names = st.tuples(
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True),
    request_ids,
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20),
    st.integers(0, 1000),
)
paths = Router(DIALECTS)


@given(names, names)
def test_an_idempotent_id_names_one_event(one: Name, other: Name) -> None:
    """The same always for the same, different for everything else; a valid UUIDv8."""
    assert UUID(idempotent_id(*one)).version == 8
    assert (idempotent_id(*one) == idempotent_id(*other)) == (one == other)
    assert idempotent_id(*one) == idempotent_id(*one)


@given(st.lists(st.integers(0, 2**61), min_size=2, max_size=50), st.binary(min_size=9, max_size=9))
def test_event_ids_differ_whatever_the_clock_does(times: list[int], node: bytes) -> None:
    """It may stand still, jump back or run ahead."""
    stamp = Stamp(node)
    ids = [stamp(nanoseconds)[0] for nanoseconds in times]

    assert len(set(ids)) == len(ids)
    assert all(UUID(one).version == 7 for one in ids)


@given(request_ids, st.sampled_from(["", "/requesty", "/k/aw_key", "/k/aw_key/requesty"]))
def test_a_percent_encoded_id_comes_back_as_it_was(request_id: str, prefix: str) -> None:
    """Through the raw path, slashes included."""
    found = paths.find(f"{prefix}/feedback/{quote(request_id, safe='')}".encode())

    assert found is not None
    assert found.raw_id is not None
    if request_id in (".", ".."):
        with pytest.raises(Rejection):
            request_id_of(found.raw_id)
    else:
        assert request_id_of(found.raw_id) == request_id


@given(st.binary(max_size=60))
def test_no_path_whatever_breaks_the_search(path: bytes) -> None:
    """It leads somewhere or nowhere, and what is logged of it holds no key."""
    found = paths.find(path)
    if found is not None and found.raw_id is not None:
        with suppress(Rejection):
            assert isinstance(request_id_of(found.raw_id), str)
    assert "secret" not in redacted(b"/k/secret" + path)
