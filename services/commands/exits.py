"""How a command ends: the exit codes, and which error stands for which."""

import sys

DONE = 0
FOUND = 1
"""Rejects or differences were found."""
USAGE = 2
"""The call or the settings are wrong."""
UNREACHABLE = 75
"""A server that is needed does not answer; the same call may work later."""
INTERRUPTED = 130


class CommandError(Exception):
    """What a user can mend; its text says how.  `code` is the exit code."""

    code = FOUND


class UsageError(CommandError):
    """The call or the settings cannot work as they are."""

    code = USAGE


class UnreachableError(CommandError):
    """A server that is needed does not answer."""

    code = UNREACHABLE


def exit_code_of(error: Exception) -> int | None:
    """Return the exit code of an error that needs no traceback, None for every other."""
    if isinstance(error, CommandError):
        return error.code
    # Settings are loaded only by what uses them: whatever raised their error has imported them.
    settings = sys.modules.get("services.runtime.settings")
    return USAGE if settings and isinstance(error, settings.SettingsError) else None
