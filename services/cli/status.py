"""`afterword status`: what runs, how far each stage is, what is stored."""

import asyncio
import logging
from typing import Annotated

import typer

from services.operations.exits import UNREACHABLE


def status(
    seconds: Annotated[
        float, typer.Argument(min=0, metavar="[SECONDS]", help="With --wait: how long to wait at most.")
    ] = 60.0,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until everything is ready.")] = False,
) -> None:
    """Show parts, the lag of each stage, rows and dead letters.

    Of a local stack (AFTERWORD_HOME) it shows the parts with process id,
    uptime and restarts.  Lag, rows and dead letters are asked from Kafka and
    ClickHouse, wherever KAFKA_BOOTSTRAP_SERVERS and CLICKHOUSE_URL say they
    are.  Lag is in records: the merger reads the events, the sink reads
    states, events and dead letters.  Dead letters that were replayed do not
    count.

    In scripts: `afterword status --json --wait 30` waits 30 seconds at most.

    Exit codes: 0 everything is ready, 2 settings, 75 something is not, or a
    server does not answer.
    """
    # Imported here because it takes half a second, which `--help` should not pay.
    import orjson  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from services.local.core.views import draw_status  # noqa: PLC0415
    from services.local.settings import StatusSettings  # noqa: PLC0415
    from services.local.status import read_status, wait_until_ready  # noqa: PLC0415
    from services.runtime.settings import load  # noqa: PLC0415

    # A server that is away is what this command is there to say.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = load(StatusSettings)
    found = asyncio.run(wait_until_ready(settings, seconds) if wait else read_status(settings))
    if json:
        typer.echo(orjson.dumps(found.as_json()).decode())
    else:
        Console(highlight=False).print(draw_status(found), soft_wrap=True)
    raise typer.Exit(0 if found.ready else UNREACHABLE)
