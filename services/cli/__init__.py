"""The `afterword` command: a thin file a command, from options to an exit code.

Read `app.py` first: the table of all commands.  The work is done by `services.operations`.
"""
