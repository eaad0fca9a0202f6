"""Inserts the rows that a request carries.

The engine's streaming insert (`send_insert`) is not used.  It reports success for rows that are refused
after they were parsed (a violated constraint, a memory limit, too many parts): nothing is stored, and
nobody is told.  A whole statement reports every error.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import Any

from services.local.warehouse.connections import Link

_PLAIN = re.compile(rb"\s*INSERT\s+INTO\s+(?:TABLE\s+)?[\w.`\"]+\s*(?:\([^()]*\))?\s*", re.IGNORECASE)
"""An INSERT that can be told to read a file: the engine parses that in parallel, twice as fast."""


def insert(link: Link, sql: bytes, name: str, data: Iterable[memoryview]) -> Any:
    """Run an INSERT, cut off before FORMAT, on data in the format of that name: the engine's result."""
    shape = b" FORMAT " + name.encode()
    if not _PLAIN.fullmatch(sql):
        return link.raw.query(b"".join((sql, shape, b"\n", *data)), "Null")
    with _file(data) as path:
        return link.raw.query(sql + b" FROM INFILE '" + path.encode() + b"'" + shape, "Null")


@contextmanager
def _file(data: Iterable[memoryview]) -> Iterator[str]:
    """Yield the path of a file with the data, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("insert"), "wb") as file:
            file.writelines(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with NamedTemporaryFile("wb") as file:
            file.writelines(data)
            file.flush()
            yield file.name
