"""The exit codes of `afterword` and of its services, and how a process reports why it ends.

It imports next to nothing, so that a list of commands is shown at once.
"""

import errno
import sys

DONE = 0
FOUND = 1
"""Rejects or differences were found, or a service must not start as things are."""
USAGE = 2
"""The call or the settings are wrong."""
UNREACHABLE = 75
"""A server that is needed does not answer; the same call may work later."""
INTERRUPTED = 130


def complain(service: str, message: str, code: int) -> int:
    """Write why a service ends to standard error, for the operator; return `code`."""
    for line in message.splitlines():
        sys.stderr.write(f"{service}: {line}\n")
    return code


def unlistenable(error: OSError, host: str, port: int, prefix: str) -> str | None:
    """Return why an address cannot be listened on and what to set, None for any other error.

    `prefix` is that of the variables: `INGEST` of INGEST_HOST and INGEST_PORT.
    """
    if error.errno == errno.EADDRINUSE:
        return f"{host}:{port} is taken by another program: stop it, or set {prefix}_PORT to a free port"
    number = error.errno or 0
    # Below zero are the resolver's: the host is a name that leads nowhere.
    if number in (errno.EADDRNOTAVAIL, errno.EACCES) or number < 0:
        return f"cannot listen on {host}:{port} ({error.strerror}): change {prefix}_HOST or {prefix}_PORT"
    return None
