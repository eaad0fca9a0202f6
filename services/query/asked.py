"""What a request asks: its parameters, read one by one, and every fault told at once."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import Request

from services.query.filters import NO_FILTERS, PARAMETERS, Filters, is_filter, parse_filters
from services.query.problems import Code, Fault, Problem, invalid

T = TypeVar("T")

SHOWN = 80
"""Characters of a caller's text that an answer repeats, at most."""

Parameters = list[tuple[str, str]]


class Question:
    """The parameters of a request.  Reading a wrong one notes a fault and returns a default."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.faults: list[Fault] = []

    def filters(self) -> Filters:
        """Return what the filters say."""
        return self.read(lambda: parse_filters(self.parameters), NO_FILTERS)

    def text(self, name: str, default: str = "") -> str:
        """Return the one value of a parameter; an empty one counts as not given."""
        values = [value for given, value in self.parameters if given == name and value]
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
def question(request: Request, allowed: Collection[str] = (), *, filters: bool = True) -> Iterator[Question]:
    """Give the parameters of a request to read in a `with` block; its end raises Problem for all faults.

    Parameters that are neither `allowed` nor, unless `filters` is False, filters are faults too.
    """
    asking = Question([])
    asking.parameters = asking.read(lambda: given(request), [])
    known = (*allowed, *(PARAMETERS if filters else ()))
    asking.faults += _unknown(asking.parameters, known, filters=filters)
    yield asking
    if asking.faults:
        raise invalid(*asking.faults)


def asked(request: Request, allowed: Collection[str] = (), *, filters: bool = True) -> Parameters:
    """Return all parameters in order; raise Problem for those that are neither filters nor allowed."""
    with question(request, allowed, filters=filters) as asking:
        return asking.parameters


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
