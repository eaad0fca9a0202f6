"""Call the `afterword` command as a user does: in this process, or as a process of its own."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from services.cli.app import main

ROOT = Path(__file__).parents[3]
_WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


class Ended(NamedTuple):
    """How a call ended, and what it printed."""

    code: int
    out: str
    err: str


def afterword(*arguments: str | Path, environ: Mapping[str, str] | None = None) -> Ended:
    """Call it in this process, which takes no start-up time.  `environ` is added to the environment."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["afterword", *map(str, arguments)]
    with (
        patch.object(sys, "argv", argv),
        patch.dict(os.environ, {**_WIDE, **(environ or {})}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        return Ended(_exit_code(), out.getvalue(), err.getvalue())


def _exit_code() -> int:
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


@contextmanager
def started(
    *arguments: str | Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start it as a process of its own, with pipes; it is killed in the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **_WIDE, **(environ or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
