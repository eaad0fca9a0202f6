"""ClickHouse's own compressed blocks: `compress=1` in a URL, which JDBC tools set by default.

A block is a checksum of 16 bytes (CityHash128 of the rest), a method, two lengths and the data.  The first
length counts the compressed data and the nine bytes of method and lengths; both are little-endian.
"""

import struct

import lz4.block
from clickhouse_cityhash.cityhash import CityHash128

from chdb_server.core.encodings import TooLargeError
from chdb_server.core.errors import ClickHouseCode, QueryRefusedError

_BLOCK = 2**20
_NONE, _LZ4 = 0x02, 0x82
_HEADER = struct.Struct("<BII")
_CHECKSUM = struct.Struct("<QQ")
_LOW = 2**64 - 1


class BlockEncoder:
    """Writes a result as compressed blocks, piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Return the blocks of a piece."""
        return b"".join(_block(data[at : at + _BLOCK]) for at in range(0, len(data), _BLOCK))

    def flush(self) -> bytes:
        """Return nothing: each block is complete."""
        return b""


def decode(body: bytes, limit: int) -> bytes:
    """Return the data of compressed blocks.  QueryRefusedError if damaged or larger than `limit` bytes."""
    parts: list[bytes] = []
    at = total = 0
    while at < len(body):
        start = at + _CHECKSUM.size
        if len(body) < start + _HEADER.size:
            raise _damaged("cut short")
        method, compressed, size = _HEADER.unpack_from(body, start)
        block = body[start : start + compressed]
        if compressed < _HEADER.size or len(block) < compressed or body[at:start] != _checksum(block):
            raise _damaged("cut short or changed on its way")
        total += size
        if total > limit:
            raise TooLargeError(limit)
        parts.append(_data(method, block[_HEADER.size :], size))
        at = start + compressed
    return b"".join(parts)


def _block(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    block = _HEADER.pack(_LZ4, len(packed) + _HEADER.size, len(data)) + packed
    return _checksum(block) + block


def _checksum(block: bytes) -> bytes:
    number: int = CityHash128(block)
    return _CHECKSUM.pack(number >> 64, number & _LOW)


def _data(method: int, packed: bytes, size: int) -> bytes:
    if method == _NONE:
        return packed
    if method != _LZ4:
        raise QueryRefusedError(
            ClickHouseCode.NOT_IMPLEMENTED, f"Blocks compressed by method {method:#x} are not supported."
        )
    try:
        data: bytes = lz4.block.decompress(packed, uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise _damaged(str(error)) from error
    return data


def _damaged(how: str) -> QueryRefusedError:
    return QueryRefusedError(
        ClickHouseCode.INCORRECT_DATA, f"A compressed block of the body is damaged: {how}."
    )
