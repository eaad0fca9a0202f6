"""Moves the clock of a Python process while it runs: Python imports a module of this name at each start.

`CHAOS_CLOCKS` names a directory with a file for each part: eight bytes, the nanoseconds by which its clock is
off.  The file is mapped into memory, so that a change counts at once.  Only what tells the time of day moves;
clocks that measure how long something took do not, as on a real machine.
"""

import mmap
import os
import struct
import sys
import time
from pathlib import Path


def _part() -> str:
    """Return the name of the part that this process is, empty if it is none."""
    modules = [argument for argument in sys.orig_argv if argument.startswith("services.")]
    return os.environ.get("CHAOS_PART") or (modules[0].rpartition(".")[2] if modules else "")


def _move(shift: mmap.mmap) -> None:
    read, seconds, nanoseconds = struct.Struct("=q").unpack_from, time.time, time.time_ns
    time.time = lambda: seconds() + read(shift)[0] / 1e9
    time.time_ns = lambda: nanoseconds() + int(read(shift)[0])


_clocks, _name = os.environ.get("CHAOS_CLOCKS"), _part()
if _clocks and _name and (_path := Path(_clocks, _name)).exists():
    with _path.open("rb") as _file:
        _move(mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ))
