"""How a command ends: the exit codes, and which error stands for which."""

import errno
import sys

from services.runtime.exit_codes import DONE, FOUND, INTERRUPTED, UNREACHABLE, USAGE

__all__ = [
    "DONE",
    "FOUND",
    "INTERRUPTED",
    "UNREACHABLE",
    "USAGE",
    "CommandError",
    "UnreachableError",
    "UsageError",
    "exit_code_of",
    "unusable_file",
]


class CommandError(Exception):
    """What a user can mend; its text says how.  `code` is the exit code."""

    code = FOUND


class UsageError(CommandError):
    """The call or the settings cannot work as they are."""

    code = USAGE


class UnreachableError(CommandError):
    """A server that is needed does not answer."""

    code = UNREACHABLE


_UNUSABLE = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)
"""What a file of the user's own fails with, which no change of the program would mend."""


def unusable_file(error: OSError) -> CommandError | None:
    """Return what to say of a file that the system does not let this user use, None for any other error."""
    if error.filename is None or error.errno not in _UNUSABLE:
        return None
    return CommandError(f"{error.filename}: {error.strerror}; nothing after that was done")


def exit_code_of(error: Exception) -> int | None:
    """Return the exit code of an error that needs no traceback, None for every other."""
    if isinstance(error, CommandError):
        return error.code
    # Both are loaded only by what uses them: whatever raised their error has imported them.
    settings = sys.modules.get("services.runtime.settings")
    if settings and isinstance(error, settings.SettingsError):
        return USAGE
    audit = sys.modules.get("services.runtime.audit_log")
    return FOUND if audit and isinstance(error, audit.AuditError) else None
