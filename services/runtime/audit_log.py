"""The audit log: what operators did, when, and how it ended.

One JSON object a line, only ever appended, in a file that its owner alone may read.  It names keys, tenants,
topics and numbers, never feedback, and no secret.
"""

import getpass
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from services.runtime.settings import HomeSettings, load

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]+)")


class AuditError(Exception):
    """The audit log cannot be written; the act that it would record has not been done."""


def record(settings: HomeSettings, act: str, outcome: str, now: datetime, **facts: Any) -> None:
    """Append one act; AuditError when that is not on disk afterwards.

    `act` is a command or route, such as `dlq replay`; `outcome` is `begun`, `done`, `refused` or `failed`.
    What changes anything is recorded as begun before it begins.
    """
    append(settings.audit_file, {"at": now, "act": act, "outcome": outcome, "by": _who(), **facts})


@contextmanager
def audited(act: str, settings: HomeSettings | None = None, **facts: Any) -> Iterator[dict[str, Any]]:
    """Record an act as begun, and after the `with` block as done or failed.  AuditError: nothing was done.

    What is put into the yielded dict is recorded with the end.  `settings` None takes the environment's.
    """
    settings = settings or load(HomeSettings)
    facts = {name: value for name, value in facts.items() if value not in (None, "")}
    record(settings, act, "begun", _now(), **facts)
    found: dict[str, Any] = {}
    try:
        yield found
    except BaseException as error:
        record(settings, act, "failed", _now(), **facts | found, error=type(error).__name__)
        raise
    record(settings, act, "done", _now(), **facts | found)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Append an entry; see it onto the disk, unless the file is a pipe, a socket or a terminal."""
    line = orjson.dumps(entry, default=str) + b"\n"
    try:
        descriptor = _opened(path)
        try:
            while line:
                line = line[os.write(descriptor, line) :]
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AuditError(f"cannot write the audit log {path}: {error.strerror}") from error


def is_kept(path: Path) -> bool:
    """Return whether entries can be read again: a regular file, or one that does not exist yet."""
    return _own_descriptor(path) is None and (path.is_file() or not path.exists())


def _opened(path: Path) -> int:
    own = _own_descriptor(path)
    if own is not None:
        # A socket cannot be opened by its name, and a file would be written from a second place in it.
        return os.dup(own)
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY, 0o600)


def _own_descriptor(path: Path) -> int | None:
    """Return which of this process's descriptors a path names, if it names one."""
    if name := _STREAMS.get(str(path)):
        return name
    named = _DESCRIPTOR.fullmatch(str(path))
    return int(named[1]) if named else None


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
