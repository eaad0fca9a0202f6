"""ClickHouse's compressed blocks: round trip, limits, damage; and the bytes of one, once and for all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chdb_server.core.blocks import BlockEncoder, decode
from chdb_server.core.encodings import TooLargeError
from chdb_server.core.errors import QueryRefusedError

# What ClickHouse's JDBC driver 0.9.2 accepted as the answer to `SELECT version() AS server_version`.
ACCEPTED = bytes.fromhex(
    "dbb8932baa7102987d7b6cecdfac8c23822b00000020000000f011010e7365727665725f76657273696f6e0653"
    "7472696e670832362e392e322e31"
)


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_answers_in_blocks_decode_to_the_whole(pieces: list[bytes]) -> None:
    """Each piece is complete by itself."""
    target = BlockEncoder()
    body = b"".join([*(target.compress(piece) for piece in pieces), target.flush()])

    assert b"".join(pieces) == decode(body, 2**20)


def test_large_pieces_become_multiple_blocks() -> None:
    """A reader holds one block at a time, so none is larger than a mebibyte."""
    piece = bytes(2**20 + 1)

    assert piece == decode(BlockEncoder().compress(piece), 2**21)


def test_a_block_is_written_as_a_real_driver_accepted_it() -> None:
    """The order of the checksum's halves is easily got wrong, and then no client reads a thing."""
    data = b"\x01\x0eserver_version\x06String\x0826.9.2.1"

    assert data == decode(ACCEPTED, 100)
    assert BlockEncoder().compress(data) == ACCEPTED


@given(st.integers(0, len(ACCEPTED) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, change: int) -> None:
    """That is what the checksum is for."""
    body = bytearray(ACCEPTED)
    body[at] ^= change
    with pytest.raises(QueryRefusedError, match="INCORRECT_DATA"):
        decode(bytes(body), 2**32)


@given(st.integers(1, len(ACCEPTED) - 1))
def test_a_block_cut_short_is_noticed(length: int) -> None:
    """Wherever it was cut."""
    with pytest.raises(QueryRefusedError, match="INCORRECT_DATA"):
        decode(ACCEPTED[:length], 2**20)


def test_blocks_share_one_limit() -> None:
    """The lengths they claim count before anything is unpacked."""
    body = BlockEncoder().compress(bytes(1000))

    assert len(decode(body * 2, 2000)) == 2000
    with pytest.raises(TooLargeError):
        decode(body * 3, 2000)
