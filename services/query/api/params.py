"""Parameters of a request: reads them one by one, and reports every fault at once."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

from fastapi import Request

from schemas.identity import is_request_id
from services.query.core.problems import ParamFault, ProblemCode, QueryProblem, invalid
from services.query.reads.core.filters import BLANK, NO_FILTERS, PARAMETERS, Filters, is_filter, parse_filters

T = TypeVar("T")

SHOWN = 80
"""The most characters of a client's text that an error repeats."""

CURSOR = "cursor"
"""May be empty, as programs that follow cursors send it for the first page."""

Parameters = list[tuple[str, str]]


class Params:
    """The parameters of a request that have a value.  An invalid one is a fault, and read as its default."""

    def __init__(self, sent: Parameters) -> None:
        self.sent = sent
        """All parameters, also those without a value."""
        self.parameters = [one for one in sent if one[1]]
        self.faults: list[ParamFault] = []

    def filters(self) -> Filters:
        """Return the filters."""
        return self.read(lambda: parse_filters(self.parameters), NO_FILTERS)

    def text(self, name: str, default: str = "") -> str:
        """Return the value of a parameter that may be given once."""
        values = [value for given, value in self.parameters if given == name]
        if len(values) > 1:
            self.faults.append(ParamFault(name, "give it once"))
        return values[0] if values else default

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """Return a value that is one of the choices."""
        value = self.text(name, default)
        if value in choices or value == default:
            return value
        detail = f"{value[:SHOWN]!r} is none of {', '.join(choices)}"
        self.faults.append(ParamFault(name, detail + _near(value, choices)))
        return default

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        value = self.text(name, str(default))
        if value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= most:
            return int(value)
        self.faults.append(ParamFault(name, f"a whole number from {least} to {most}"))
        return default

    def read(self, reader: Callable[[], T], default: T) -> T:
        """Return the result of a parser; faults that it raises are recorded, and the default is returned."""
        try:
            return reader()
        except QueryProblem as problem:
            if problem.code is not ProblemCode.INVALID_QUERY:
                raise
            self.faults += problem.faults
            return default


@contextmanager
def params_of(
    request: Request, allowed: Collection[str] = (), *, filters: bool = True, form: bool = False
) -> Iterator[Params]:
    """Yield the parameters of a request; the end of the `with` block raises QueryProblem with all faults.

    Unknown parameters are faults too: those neither `allowed` nor, if `filters`, a filter.  So is an empty
    parameter other than CURSOR, except from a `form`: a browser also sends fields that were left blank.
    """
    try:
        asking = Params(given(request))
    except QueryProblem as problem:
        asking = Params([])
        asking.faults += problem.faults
    known = (*allowed, *(PARAMETERS if filters else ()))
    asking.faults += _unknown(asking.sent, known, filters=filters)
    if not form:
        asking.faults += [
            ParamFault(name[:SHOWN], BLANK)
            for name, value in dict.fromkeys(asking.sent)
            if value == "" and name != CURSOR
        ]
    yield asking
    if asking.faults:
        raise invalid(*asking.faults)


def given(request: Request) -> Parameters:
    """Return all parameters of a request in order; raise QueryProblem for bytes that are not UTF-8."""
    try:
        text = bytes(request.scope["query_string"]).decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise invalid(ParamFault("", "the parameters are not UTF-8")) from None


def _unknown(parameters: Parameters, known: Collection[str], *, filters: bool) -> Iterator[ParamFault]:
    for name in dict.fromkeys(name for name, _ in parameters):
        if name not in known and not (filters and is_filter(name)):
            yield ParamFault(name[:SHOWN], f"there is no such parameter{_near(name, known)}")


def _near(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name[:SHOWN], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def request_id_of(segment: str) -> str:
    """Return the request id in a segment of a raw path; raise QueryProblem if it cannot be one.

    A raw path is decoded as Latin-1 first: clients may send UTF-8 without percent-encoding it.
    """
    try:
        request_id = unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeError:
        raise invalid(ParamFault("request_id", "it is not UTF-8 when it is percent-decoded")) from None
    if not is_request_id(request_id):
        raise invalid(ParamFault("request_id", "1 to 256 characters, none of them a control character"))
    return request_id
