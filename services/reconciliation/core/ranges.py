"""Sets of offsets: as bits, and as ranges for output."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

CHUNK = 4096
"""Offsets whose bits are stored together."""
WORD = 64


class EventsPartition(NamedTuple):
    """A partition of a generation's events topic."""

    generation: int
    partition: int


class Bits:
    """A set of offsets of one partition: half a kilobyte for 4,096 neighbours."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}

    def put_word(self, word: int, bits: int) -> None:
        """Add the offsets `64 * word + n` for each bit n."""
        chunk, at = divmod(word * WORD, CHUNK)
        self._chunk(chunk)[at // 8 : at // 8 + 8] = bits.to_bytes(8, "little")

    def add(self, offset: int) -> bool:
        """Add one offset, and return whether it is new."""
        chunk, at = divmod(offset, CHUNK)
        bits = self._chunk(chunk)
        known = bits[at // 8]
        bits[at // 8] |= 1 << at % 8
        return bits[at // 8] != known

    def take(self, offset: int) -> bool:
        """Remove an offset, and return whether it was there."""
        chunk, at = divmod(offset, CHUNK)
        bits = self._chunks.get(chunk)
        if bits is None or not bits[at // 8] & 1 << at % 8:
            return False
        bits[at // 8] &= ~(1 << at % 8)
        return True

    def count_below(self, end: int) -> int:
        """Return how many offsets are below one."""
        last, at = divmod(end, CHUNK)
        whole = sum(int.from_bytes(bits).bit_count() for chunk, bits in self._chunks.items() if chunk < last)
        rest = int.from_bytes(self._chunks.get(last, b""), "little") & ((1 << at) - 1)
        return whole + rest.bit_count()

    def offsets(self, start: int = 0) -> Iterator[int]:
        """Yield the offsets from `start` on, in order."""
        for chunk in sorted(self._chunks):
            bits = int.from_bytes(self._chunks[chunk], "little")
            while bits:
                lowest = bits & -bits
                offset = chunk * CHUNK + lowest.bit_length() - 1
                bits ^= lowest
                if offset >= start:
                    yield offset

    def _chunk(self, number: int) -> bytearray:
        return self._chunks.setdefault(number, bytearray(CHUNK // 8))


class Ranges:
    """A growing set of offsets as ranges.  Adding in order is cheap."""

    def __init__(self, offsets: Iterable[int] = ()) -> None:
        self._stretches: list[tuple[int, int]] = []
        for offset in offsets:
            self.add(offset)

    def add(self, offset: int) -> None:
        """Add one offset; twice is once."""
        self.add_stretch(offset, offset + 1)

    def add_stretch(self, start: int, end: int) -> None:
        """Add everything from `start` to before `end`."""
        if not self._stretches or start > self._stretches[-1][1]:
            self._stretches.append((start, end))
        elif start >= self._stretches[-1][0]:
            first, last = self._stretches[-1]
            self._stretches[-1] = (first, max(last, end))
        else:
            self._stretches = list(_joined([*self._stretches, (start, end)]))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._stretches)

    def __len__(self) -> int:
        return sum(end - start for start, end in self._stretches)

    def as_text(self, most: int = 5) -> str:
        """Return the first stretches in words: `3, 7 to 19 and 2 more stretches`."""
        shown = [str(start) if end == start + 1 else f"{start} to {end - 1}" for start, end in self]
        more = len(shown) - most
        return ", ".join(shown[:most]) + (f" and {more:,} more stretches" if more > 0 else "")


def _joined(stretches: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    stretches.sort()
    first, last = stretches[0]
    for start, end in stretches[1:]:
        if start > last:
            yield first, last
            first, last = start, end
        else:
            last = max(last, end)
    yield first, last
