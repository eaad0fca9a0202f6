"""The command line of `afterword status`."""

import asyncio
from typing import Annotated

import typer

from services.operations.exits import UNREACHABLE


def status(
    seconds: Annotated[
        float, typer.Argument(min=0, metavar="[SECONDS]", help="With --wait: the longest wait.")
    ] = 60.0,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until everything is ready.")] = False,
) -> None:
    """Show parts, the lag of each stage, rows and dead letters.

    Parts of a local stack (AFTERWORD_HOME) are shown with process id, uptime
    and restarts.  Lag, rows and dead letters are read from Kafka and ClickHouse
    at KAFKA_BOOTSTRAP_SERVERS and CLICKHOUSE_URL.  Lag is in records: the
    merger reads events, the sink reads states, events and dead letters.
    Replayed dead letters are not counted.

    In scripts: `afterword status --json --wait 30` waits 30 seconds at most.

    Exit codes: 0 everything is ready, 2 settings, 75 something is not, or a
    server is unreachable.
    """
    # Imported here because it takes half a second, which `--help` should not pay.
    import orjson  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from services.local.core.views import draw_status  # noqa: PLC0415
    from services.local.settings import StatusSettings  # noqa: PLC0415
    from services.local.status import read_status, wait_until_ready  # noqa: PLC0415
    from services.runtime.settings import load  # noqa: PLC0415

    settings = load(StatusSettings)
    found = asyncio.run(wait_until_ready(settings, seconds) if wait else read_status(settings))
    if json:
        typer.echo(orjson.dumps(found.as_json()).decode())
    else:
        Console(highlight=False).print(draw_status(found), soft_wrap=True)
    raise typer.Exit(0 if found.ready else UNREACHABLE)
