"""Runs `afterword rebuild` again and again, and kills each run at another point of its way.

    python -m tests.support.operations.killed_rebuilds POINT... -- OPTION...

Each run is a process of its own that ends itself with SIGKILL when it passes the point; `end` passes all.
"""

import asyncio
import os
import signal
import sys

from services.operations.rebuild import run
from services.operations.rebuild.core.scope import RebuildScope, chosen
from services.operations.rebuild.settings import RebuildSettings
from services.runtime.settings import load


def run_until(point: str, wanted: run.RebuildOptions) -> int:
    """Return the exit code of one run, negative when it was killed."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    async def passed(where: str) -> None:
        if where == point:
            os.kill(os.getpid(), signal.SIGKILL)

    os._exit(asyncio.run(run.tables(load(RebuildSettings), wanted, lambda _: True, passed)))


def main() -> None:
    """Print the point and the exit code of each run."""
    cut = sys.argv.index("--")
    points, options = sys.argv[1:cut], sys.argv[cut + 1 :]
    tables = [option for option in options if "=" not in option]
    tenant = next(
        (option.removeprefix("tenant=") for option in options if option.startswith("tenant=")), None
    )
    wanted = run.RebuildOptions(scope=RebuildScope(tenant), kinds=chosen(tables))
    for point in points:
        print(point, run_until(point, wanted), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
