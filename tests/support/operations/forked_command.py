"""The `afterword` command in forks of a process that has imported it: a start costs next to nothing.

For tests that kill a command again and again.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_forks = multiprocessing.get_context("forkserver")


def start(arguments: Sequence[str], environ: Mapping[str, str], log: Path, *, preload: str) -> BaseProcess:
    """Start a command whose output is appended to a log; `preload` is the module that it takes long to load.

    The environment is what is given here, and nothing else.
    """
    _forks.set_forkserver_preload([__name__, preload])
    process = _forks.Process(target=_run, args=(list(arguments), dict(environ), log))
    process.start()
    return process


def _run(arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
    from services.cli.app import main  # noqa: PLC0415 (in the fork alone)

    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["afterword", *arguments]
    main()
