"""What a piece of work costs in figures that are the same on every machine and at every load.

    counted = count(lambda: fold(records, stored, source))
    counted.instructions, counted.calls

Instructions are those of Python's bytecode, and calls those of functions of Python and of C; what happens
within C, as in a decoder, is one call.  They differ by some percent between releases of Python.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Counted(NamedTuple):
    """What was counted."""

    instructions: int
    calls: int

    def each(self, number: int) -> tuple[float, float]:
        """Return both for one of so many things."""
        return self.instructions / number, self.calls / number


def count(work: Callable[[], object]) -> Counted:
    """Return what the work costs that one thread does; it is done three times, the first to fill caches."""
    work()
    return Counted(_instructions(work), _calls(work))


def _instructions(work: Callable[[], object]) -> int:
    seen = 0

    def trace(frame: Any, event: str, _argument: Any) -> Any:
        nonlocal seen
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        seen += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return seen


def _calls(work: Callable[[], object]) -> int:
    seen = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal seen
        seen += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return seen
