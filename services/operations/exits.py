"""Exit codes of commands, and the errors that lead to them."""

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
    """An error that a user can fix; its text explains how.  `code` is the exit code."""

    code = FOUND


class UsageError(CommandError):
    """The command line or the settings are invalid."""

    code = USAGE


class UnreachableError(CommandError):
    """A required server does not answer."""

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
"""Errors of a file that only the user can fix."""


def unusable_file(error: OSError) -> CommandError | None:
    """Return the error of a file that this user may not use, None for any other error."""
    if error.filename is None or error.errno not in _UNUSABLE:
        return None
    return CommandError(f"{error.filename}: {error.strerror}; nothing was done after that")


def exit_code_of(error: Exception) -> int | None:
    """Return the exit code of an error without traceback, None for every other."""
    if isinstance(error, CommandError):
        return error.code
    # Not imported here: a module that raised one of their errors has imported them.
    settings = sys.modules.get("services.runtime.settings")
    if settings and isinstance(error, settings.SettingsError):
        return USAGE
    audit = sys.modules.get("services.runtime.audit_log")
    return FOUND if audit and isinstance(error, audit.AuditError) else None
