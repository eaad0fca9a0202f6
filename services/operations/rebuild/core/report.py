"""What a rebuild did to each table, and how that is printed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class SwappedTable:
    """The result of a table that was rebuilt; its fields are those of `--json`."""

    table: str
    read: int = 0
    rows: int = 0
    refused: int = 0
    carried: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)
    kept: str | None = None
    finished_before: bool = False
    """An earlier call had done the swap, and this one only cleaned up."""
    seconds: float = 0.0


@dataclass
class RepairedTable:
    """The result of a part of a table that was repaired; its fields are those of `--json`."""

    table: str
    read: int = 0
    rows: int = 0
    refused: int = 0
    mended: int = 0
    """Rows that were missing or differed."""
    deleted: int = 0
    kept: str | None = None
    """The table that has what was deleted."""


def result_lines(results: Sequence[SwappedTable | RepairedTable]) -> Iterator[str]:
    """Yield the result of each table as text."""
    for result in results:
        if isinstance(result, RepairedTable):
            yield (
                f"{result.table}: {result.rows:,} rows of the scope are as in the log; {result.mended:,} were"
                f" missing or different, {result.deleted:,} that the log does not know were deleted"
                + (f", and are kept in {result.kept}" if result.kept else "")
            )
        else:
            yield from _swapped(result)


def _swapped(one: SwappedTable) -> Iterator[str]:
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


def unexplained(results: Sequence[SwappedTable | RepairedTable]) -> int:
    """Return how many rows were left out because the log never had them."""
    return sum(result.unknown for result in results if isinstance(result, SwappedTable))
