"""Bodies come back as they were, small bombs stay small, and damage is distinguished from size."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chdb_server.core.encodings import TooLargeError, choose, decode, encoder
from chdb_server.core.errors import QueryRefusedError
from tests.support.clickhouse.content_encodings import PACK

LIMIT = 2**22
every_encoding = pytest.mark.parametrize("name", PACK)


@every_encoding
@given(blocks=st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_frames_that_follow_each_other_are_joined(name: str, blocks: list[bytes]) -> None:
    """clickhouse-connect compresses each block by itself."""
    body = b"".join(PACK[name](block) for block in blocks)

    assert b"".join(blocks) == decode(name, body, LIMIT)


@every_encoding
def test_a_body_may_grow_to_the_limit_and_not_past_it(name: str) -> None:
    """The limit is exact, so that it can be documented."""
    assert len(decode(name, PACK[name](bytes(LIMIT)), LIMIT)) == LIMIT
    with pytest.raises(TooLargeError, match=f"larger than {LIMIT} bytes"):
        decode(name, PACK[name](bytes(LIMIT + 1)), LIMIT)


@every_encoding
def test_frames_share_one_limit(name: str) -> None:
    """Many small frames are no way around it."""
    with pytest.raises(TooLargeError):
        decode(name, PACK[name](bytes(LIMIT // 2)) * 3, LIMIT)


@every_encoding
def test_a_body_cut_short_gets_an_error(name: str) -> None:
    """Half a body must not be taken for a whole one."""
    body = PACK[name](bytes(range(256)) * 50)
    for length in (len(body) // 2, len(body) - 1):
        with pytest.raises(QueryRefusedError, match="INCORRECT_DATA"):
            decode(name, body[:length], LIMIT)


@every_encoding
@given(body=st.binary(min_size=1, max_size=100))
def test_garbage_is_refused_and_never_a_defect(name: str, body: bytes) -> None:
    """Whatever the library raises becomes one error."""
    with contextlib.suppress(QueryRefusedError):
        decode(name, body, LIMIT)


@pytest.mark.parametrize("name", ["", "identity", " Identity "])
def test_plain_bodies_pass_as_they_are(name: str) -> None:
    """Not even copied."""
    body = b"plain"

    assert decode(name, body, 1) is body


def test_an_unknown_encoding_is_refused_by_name() -> None:
    """With the names that are known."""
    with pytest.raises(QueryRefusedError, match="'snappy'; known are bz2, deflate, gzip, lz4"):
        decode("snappy", b"", LIMIT)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("gzip, deflate, br", "gzip"),
        ("lz4, zstd", "lz4"),
        ("GZIP;q=0.5", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("br, *", None),
        ("", None),
    ],
)
def test_an_answers_encoding_is_one_the_client_named(header: str, name: str | None) -> None:
    """The quickest of those; none of ours means plain."""
    assert name == choose(header)


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "lz4"])
@given(pieces=st.lists(st.binary(max_size=200), max_size=4))
def test_answers_encoded_piece_by_piece_decode_to_the_whole(name: str, pieces: list[bytes]) -> None:
    """Even an answer without any piece is a valid frame."""
    target = encoder(name)
    body = b"".join([*(target.compress(piece) for piece in pieces), target.flush()])

    assert b"".join(pieces) == decode(name, body, LIMIT)
