"""The audit log: what was done with an operator's rights, when, and how it ended.

One JSON object a line, only ever appended, in a file that its owner alone may read.  It names keys, tenants,
topics and numbers, never what people wrote, and no secret.
"""

import getpass
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from services.runtime.settings import HomeSettings


class AuditError(Exception):
    """The audit log cannot be written; the act that it would record has not been done."""


def record(settings: HomeSettings, act: str, outcome: str, now: datetime, **facts: Any) -> None:
    """Append one act; AuditError when that is not on disk afterwards.

    `act` is a command or route, such as `dlq replay`; `outcome` is `begun`, `done`, `refused` or `failed`.
    What changes anything is recorded as begun before it begins.
    """
    append(settings.audit_file, {"at": now, "act": act, "outcome": outcome, "by": _who(), **facts})


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Append an entry, and see it onto the disk."""
    line = orjson.dumps(entry, default=str) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AuditError(f"cannot write the audit log {path}: {error.strerror}") from error


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
