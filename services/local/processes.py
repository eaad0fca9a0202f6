"""Which recorded processes still run, and the end of those that an earlier supervisor left behind.

A process id alone proves nothing, since the kernel uses it again: a process is known by its id and the time
at which it was made.
"""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import psutil

_SAME_MOMENT_SECONDS = 0.05
_ENDED_WITHIN_SECONDS = 10.0


class Identity(NamedTuple):
    """A process: its id, and when it was made, in seconds since 1970."""

    pid: int
    created: float


def identity_of(pid: int) -> Identity:
    """Return the identity of a process that runs now."""
    return Identity(pid, psutil.Process(pid).create_time())


def is_running(identity: Identity) -> bool:
    """Tell whether it is this very process that runs under its id."""
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.created) < _SAME_MOMENT_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(identities: Iterable[Identity]) -> list[int]:
    """Kill those that still run, with whatever they started, and return their ids once they are gone.

    Each part leads a process group of its own.
    """
    left = [identity for identity in identities if is_running(identity)]
    for identity in left:
        with suppress(ProcessLookupError):
            os.killpg(identity.pid, signal.SIGKILL)
    for identity in left:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(identity.pid).wait(_ENDED_WITHIN_SECONDS)
    return [identity.pid for identity in left]
