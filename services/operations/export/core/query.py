"""What is asked of the query service: options of the command as parameters of its route.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.operations.exits import UsageError
from services.query.core.problems import Problem
from services.query.reads.core.filters import PARAMETERS, parse_filters, to_parameters

SUFFIXES = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
}
FORMATS = ("csv", "ndjson", "parquet")

Parameters = list[tuple[str, str | int | float | bool | None]]
"""As HTTP clients take them."""


@dataclass(frozen=True)
class Asked:
    """An export: its format, and which rows.  `limit` None is all of them."""

    format: str
    filters: tuple[tuple[str, str], ...] = ()
    limit: int | None = None
    bom: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it can be gone on with in the middle: a Parquet file is nothing before its end is there."""
        return self.format != "parquet"

    def parameters(self, cursor: str, rows: int) -> Parameters:
        """Return what asks for the rest, once so many rows, up to this one, are there."""
        asked: Parameters = [("format", self.format), *self.filters]
        if self.goes_on:
            asked.append(("trailer", "true"))
        if self.bom and not cursor:
            asked.append(("bom", "true"))
        if self.limit is not None:
            asked.append(("limit", str(self.limit - rows)))
        return [*asked, ("cursor", cursor)] if cursor else asked


def format_of(file: Path | None, wanted: str) -> str:
    """Return the format that was asked for, or that the file's name says; `file` None is standard output."""
    if wanted:
        if wanted not in FORMATS:
            raise UsageError(f"--format {wanted}: it is none of {', '.join(FORMATS)}")
        return wanted
    if file is None:
        return "ndjson"
    if found := SUFFIXES.get(file.suffix.lower()):
        return found
    raise UsageError(f"{file}: the name does not say which format; add --format csv, ndjson or parquet")


def filters_of(options: Mapping[str, Any], where: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the parameters of filters; UsageError for every fault, in the words of the options.

    `options` may hold others, too.  `where` are comparisons as people write them: `data.judge=ge:4`.
    """
    named = {name.rstrip("_"): value for name, value in options.items()}
    given = [(name, text) for name in PARAMETERS for text in _texts(named.get(name))]
    for comparison in where:
        name, equals, value = comparison.partition("=")
        if not equals or not name.startswith(("data.", "request.")):
            raise UsageError(f"--where {comparison}: it looks like data.KEY=OPERATOR:VALUE or request.KEY=…")
        given.append((name, value))
    try:
        return tuple(to_parameters(parse_filters(given)))
    except Problem as problem:
        raise UsageError("\n".join(_fault(*fault) for fault in problem.faults)) from None


def _texts(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, bool):
        return [str(value).lower()]
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def _fault(parameter: str, detail: str) -> str:
    option = f"--where {parameter}" if "." in parameter else f"--{parameter.replace('_', '-')}"
    return f"{option}: {detail}"
