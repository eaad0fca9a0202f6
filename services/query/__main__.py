"""The query service as a process: `python -m services.query`."""

import sys

from services.query import metrics
from services.query.app import QueryApp
from services.query.service import build, key_file
from services.query.settings import QuerySettings
from services.runtime import logs
from services.runtime.exit_codes import USAGE, complain
from services.runtime.http import server
from services.runtime.http.limits import ConnectionMetrics
from services.runtime.settings import SettingsError, load


def main() -> int:
    """Serve until SIGTERM or SIGINT, finish the requests that were accepted, and return the exit code."""
    try:
        settings = load(QuerySettings)
    except SettingsError as error:
        return complain("query", str(error), USAGE)
    logs.configure("query", settings)
    keys = key_file(settings.keys_file)
    meter = ConnectionMetrics(metrics.CONNECTIONS, metrics.CONNECTIONS_CUT)
    return server.run(
        "query",
        settings.query_host,
        settings.query_port,
        keys,
        lambda: QueryApp(build(settings, keys)),
        settings.bounds(),
        meter,
        drain_seconds=settings.query_drain_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
