"""The ingest process: `python -m services.ingest`."""

import sys

from services.ingest import metrics
from services.ingest.app import IngestApp, build, key_file
from services.ingest.settings import IngestSettings
from services.runtime import logs
from services.runtime.exit_codes import USAGE, complain
from services.runtime.http import server
from services.runtime.http.limits import ConnectionMetrics
from services.runtime.settings import SettingsError, load


def main() -> int:
    """Serve until SIGTERM or SIGINT, finish the accepted requests, and return the exit code."""
    try:
        settings = load(IngestSettings)
    except SettingsError as error:
        return complain("ingest", str(error), USAGE)
    logs.configure("ingest", settings)
    keys = key_file(settings.keys_file)
    meter = ConnectionMetrics(metrics.CONNECTIONS, metrics.CONNECTIONS_CUT)
    return server.run(
        "ingest",
        settings.ingest_host,
        settings.ingest_port,
        keys,
        lambda: IngestApp(build(settings, keys)),
        settings.bounds(),
        meter,
        drain_seconds=settings.ingest_drain_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
