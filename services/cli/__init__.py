"""The `afterword` command: one thin module per command, from options to an exit code.

Read `app.py` first: the table of all commands.  `options.py` has what commands share.  The work is
done by `services.operations`.
"""
