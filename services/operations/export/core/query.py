"""The query of an export: options of the command as parameters of the route."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.operations.exits import UsageError
from services.query.core.problems import QueryProblem
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
"""Of an HTTP request, in order."""


@dataclass(frozen=True)
class ExportQuery:
    """The format and the rows of an export.  `limit` None: all rows."""

    format: str
    filters: tuple[tuple[str, str], ...] = ()
    limit: int | None = None
    bom: bool = False

    @property
    def is_resumable(self) -> bool:
        """Whether a cut transfer can be resumed: not Parquet, which has its footer at the end."""
        return self.format != "parquet"

    def parameters(self, cursor: str, rows: int) -> Parameters:
        """Return the parameters for the rows behind `cursor`, the request id of the last of `rows` rows."""
        parameters: Parameters = [("format", self.format), *self.filters]
        if self.is_resumable:
            parameters.append(("trailer", "true"))
        if self.bom and not cursor:
            parameters.append(("bom", "true"))
        if self.limit is not None:
            parameters.append(("limit", str(self.limit - rows)))
        return [*parameters, ("cursor", cursor)] if cursor else parameters


def format_of(file: Path | None, chosen: str) -> str:
    """Return the chosen format, else that of the suffix; NDJSON for standard output (`file` None)."""
    if chosen:
        if chosen not in FORMATS:
            raise UsageError(f"--format {chosen}: choose one of {', '.join(FORMATS)}")
        return chosen
    if file is None:
        return "ndjson"
    if by_suffix := SUFFIXES.get(file.suffix.lower()):
        return by_suffix
    raise UsageError(f"{file}: unknown suffix; add --format csv, ndjson or parquet")


def filters_of(options: Mapping[str, Any], where: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the filter parameters; UsageError with every fault, by the names of the options.

    Options that are not filters are ignored.  `where` has comparisons such as `data.judge=ge:4`.
    """
    named = {name.rstrip("_"): value for name, value in options.items()}
    given = [(name, text) for name in PARAMETERS for text in _texts(named.get(name))]
    for comparison in where:
        name, equals, value = comparison.partition("=")
        if not equals or not name.startswith(("data.", "request.")):
            raise UsageError(f"--where {comparison}: write data.KEY=OPERATOR:VALUE or request.KEY=…")
        given.append((name, value))
    try:
        return tuple(to_parameters(parse_filters(given)))
    except QueryProblem as problem:
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
