"""What a request asks: its parameters, read one by one, and every fault told at once."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import Request

from services.query.core.problems import Code, Fault, Problem, invalid
from services.query.reads.core.filters import BLANK, NO_FILTERS, PARAMETERS, Filters, is_filter, parse_filters

T = TypeVar("T")

SHOWN = 80
"""Characters of a caller's text that an answer repeats, at most."""

CURSOR = "cursor"
"""May be empty, as programs that follow cursors send it for the first page: it lets no more rows through."""

Parameters = list[tuple[str, str]]


class Question:
    """The parameters of a request that have a value.  A wrong one is a fault, and reads as a default."""

    def __init__(self, sent: Parameters) -> None:
        self.sent = sent
        """All that were sent, also those without a value."""
        self.parameters = [one for one in sent if one[1]]
        self.faults: list[Fault] = []

    def filters(self) -> Filters:
        """Return what the filters say."""
        return self.read(lambda: parse_filters(self.parameters), NO_FILTERS)

    def text(self, name: str, default: str = "") -> str:
        """Return the one value of a parameter."""
        values = [value for given, value in self.parameters if given == name]
        if len(values) > 1:
            self.faults.append(Fault(name, "give it once"))
        return values[0] if values else default

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """Return a value that is one of the choices."""
        value = self.text(name, default)
        if value in choices or value == default:
            return value
        said = f"{value[:SHOWN]!r} is none of {', '.join(choices)}"
        self.faults.append(Fault(name, said + _near(value, choices)))
        return default

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        value = self.text(name, str(default))
        if value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= most:
            return int(value)
        self.faults.append(Fault(name, f"a whole number from {least} to {most}"))
        return default

    def read(self, reader: Callable[[], T], default: T) -> T:
        """Return what a reader returns; the faults that it raises are noted."""
        try:
            return reader()
        except Problem as problem:
            if problem.code is not Code.INVALID_QUERY:
                raise
            self.faults += problem.faults
            return default


@contextmanager
def question(
    request: Request, allowed: Collection[str] = (), *, filters: bool = True, form: bool = False
) -> Iterator[Question]:
    """Give the parameters of a request to read in a `with` block; its end raises Problem for all faults.

    Parameters that are neither `allowed` nor, unless `filters` is False, filters are faults too.  So is one
    without a value but CURSOR, except from a `form`: a browser sends the fields that were left blank as well.
    """
    try:
        asking = Question(given(request))
    except Problem as problem:
        asking = Question([])
        asking.faults += problem.faults
    known = (*allowed, *(PARAMETERS if filters else ()))
    asking.faults += _unknown(asking.sent, known, filters=filters)
    if not form:
        asking.faults += [
            Fault(name[:SHOWN], BLANK)
            for name, value in dict.fromkeys(asking.sent)
            if value == "" and name != CURSOR
        ]
    yield asking
    if asking.faults:
        raise invalid(*asking.faults)


def given(request: Request) -> Parameters:
    """Return all parameters of a request in order, decoded; raise Problem for bytes that are no UTF-8."""
    try:
        text = bytes(request.scope["query_string"]).decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise invalid(Fault("", "the parameters are not UTF-8")) from None


def _unknown(parameters: Parameters, known: Collection[str], *, filters: bool) -> Iterator[Fault]:
    for name in dict.fromkeys(name for name, _ in parameters):
        if name not in known and not (filters and is_filter(name)):
            yield Fault(name[:SHOWN], f"there is no such parameter{_near(name, known)}")


def _near(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name[:SHOWN], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
