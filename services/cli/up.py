"""The command line of `afterword up`."""

import asyncio
import os
from typing import Annotated

import typer

from services.operations.exits import INTERRUPTED, CommandError, UnreachableError, UsageError


def up(
    *,
    recover: Annotated[
        bool,
        typer.Option("--recover", help="If Kafka lost data, run `afterword recover` first."),
    ] = False,
) -> None:
    """Run the whole stack here: Kafka, ClickHouse and the services.

    No Docker, no Java, no server.  The first start downloads Kafka (44 MB).
    Ctrl-C stops everything in order, a second Ctrl-C at once.  Data, logs and
    process ids are kept in AFTERWORD_HOME (.afterword), and the next start
    uses the same data.

    Ports come from the variables that the services read: INGEST_PORT,
    QUERY_PORT, KAFKA_BOOTSTRAP_SERVERS, CLICKHOUSE_URL, MERGER_METRICS_PORT,
    SINK_METRICS_PORT.  Another AFTERWORD_HOME with other ports is a second
    stack beside the first.

    Exit codes: 0 stopped in order, 1 a part cannot run, 2 settings (a port
    that is taken, a directory that cannot be written), 75 the download
    failed, 130 stopped at once.
    """
    # Imported here because it takes half a second, which `--help` should not pay.
    from rich.console import Console  # noqa: PLC0415

    from services.local import stack  # noqa: PLC0415
    from services.local.broker import BrokerError  # noqa: PLC0415
    from services.local.home import FULL, HomeError  # noqa: PLC0415
    from services.local.jars import JarsError  # noqa: PLC0415
    from services.local.orphans import PortTakenError  # noqa: PLC0415
    from services.local.settings import LocalSettings  # noqa: PLC0415
    from services.local.supervisor import PartFailedError  # noqa: PLC0415
    from services.runtime.settings import load  # noqa: PLC0415

    settings = load(LocalSettings)
    try:
        in_order = asyncio.run(stack.run(settings, os.environ, Console(), recover=recover))
    except (HomeError, PortTakenError) as error:
        raise UsageError(str(error)) from error
    except JarsError as error:
        raise UnreachableError(str(error)) from error
    except (BrokerError, PartFailedError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = error.filename or settings.afterword_home
        raise CommandError(
            f"the disk is full ({where}): free some space and start again; acknowledged events are in the log"
        ) from error
    if not in_order:
        raise typer.Exit(INTERRUPTED)
