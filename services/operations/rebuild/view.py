"""What a rebuild came to, in words.  Pure."""

from collections.abc import Iterator, Sequence

from services.operations.rebuild.mending import Mended
from services.operations.rebuild.swapping import Swapped


def told(results: Sequence[Swapped | Mended]) -> Iterator[str]:
    """Yield what became of each table."""
    for one in results:
        if isinstance(one, Mended):
            yield (
                f"{one.table}: {one.rows:,} rows of the scope are as the log says; {one.mended:,} were"
                f" missing or different, {one.deleted:,} that the log does not know were deleted"
                + (f", and are kept in {one.kept}" if one.kept else "")
            )
        else:
            yield from _swapped(one)


def _swapped(one: Swapped) -> Iterator[str]:
    if one.finished_before:
        yield f"{one.table}: an earlier call had swapped it; {one.kept} has the old rows"
        return
    rate = f", {one.read / one.seconds:,.0f} records/s" if one.seconds else ""
    yield (
        f"{one.table}: {one.rows:,} rows from {one.read:,} records in {one.seconds:,.1f} s{rate};"
        f" {one.carried:,} older ones carried over"
    )
    if one.unknown:
        yield (
            f"  {one.unknown:,} rows were left out, because the log has never had them, such as"
            f" {', '.join(one.examples)}"
        )
    if one.kept:
        yield f"  the old table is kept as {one.kept}; `afterword rebuild --drop-old` drops it"


def lost_and_found(results: Sequence[Swapped | Mended]) -> int:
    """Return how many rows were left out that nobody can account for."""
    return sum(one.unknown for one in results if isinstance(one, Swapped))
