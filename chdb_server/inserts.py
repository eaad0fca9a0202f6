"""Inserts the rows that a request carries.

The engine gets the data as a file in memory, which a whole statement names.  Two other ways look simpler and
lose rows.  The engine's streaming insert (`send_insert`) reports success for rows that are refused after they
were parsed (a violated constraint, a memory limit, too many parts).  Data written behind the statement loses
the blanks it begins with, and a Native block of ten columns begins with a newline.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import Any

from chdb_server.connections import Link, quoted
from chdb_server.core.statements import Statement


def insert(link: Link, statement: Statement, data: Iterable[memoryview]) -> Any:
    """Run an INSERT on data in the format that it names; return the engine's result."""
    with _file(data) as path:
        # On lines of their own, since a comment may precede them.
        source = f"\nFROM INFILE {quoted(path)}\n".encode()
        shape = f"\nFORMAT {statement.format}".encode()
        return link.raw.query(statement.sql + source + statement.tail + shape, "Null")


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
