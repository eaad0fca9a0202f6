"""Supervisors give a service as long to stop as it takes: its drain, what is in flight, and the rest."""

from pathlib import Path

import yaml

from services.ingest import app as ingest
from services.ingest.settings import IngestSettings
from services.local.core.plan import GRACE_SECONDS, INGEST, QUERY
from services.local.home import Home
from services.local.runners import part_runners
from services.local.settings import LocalSettings
from services.merger import service as merger
from services.query.settings import QuerySettings
from services.runtime.http.server import GRACEFUL_SECONDS
from services.sink import app as sink

ROOT = Path(__file__).parents[3]
DRAIN = max(
    type_.model_fields[name].default
    for type_, name in ((IngestSettings, "ingest_drain_seconds"), (QuerySettings, "query_drain_seconds"))
)
LONGEST = max(DRAIN + GRACEFUL_SECONDS + ingest.STOP_SECONDS, merger.STOP_SECONDS, sink.STOP_SECONDS)


def test_a_stop_takes_less_than_supervisors_wait() -> None:
    """Ten seconds is what Docker waits by default, and what `afterword up` does."""
    assert LONGEST < 10.0 == GRACE_SECONDS


def test_the_compose_file_waits_for_longer() -> None:
    """For those who set a longer drain."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name in ("ingest", "query", "merger", "sink"):
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > 2 * LONGEST


async def test_the_local_stack_stops_without_a_drain_unless_one_is_set(tmp_path: Path) -> None:
    """Ctrl-C of `afterword up` is quick: nothing stands in front of its parts."""

    async def drain(**environ: str) -> dict[str, str | None]:
        runners = part_runners(LocalSettings(), Home(tmp_path), environ, lambda _done, _total: None)
        return {
            part: (await runner.prepare()).environment.get(f"{part.upper()}_DRAIN_SECONDS")
            for runner in runners
            if (part := runner.part.name) in (INGEST, QUERY)
        }

    assert await drain() == {"ingest": "0", "query": "0"}
    assert await drain(INGEST_DRAIN_SECONDS="5") == {"ingest": "5", "query": "0"}
