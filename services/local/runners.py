"""How each part of the stack is started and asked how it is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from services.local import broker, plan, probes
from services.local.child import Command, python_module
from services.local.home import Home
from services.local.jars import Progress, fetch, kafka_jars
from services.local.kafka_config import LOOPBACK, PARTITIONS
from services.local.plan import Part
from services.local.settings import LocalSettings
from services.local.supervision import Sight


@dataclass(frozen=True)
class Runner:
    """A part with what starts it and what asks it; `variable` sets its port, people go to its `url`."""

    part: Part
    prepare: Callable[[], Awaitable[Command]]
    probe: Callable[[], Awaitable[Sight]] | None = None
    port: int = 0
    variable: str = ""
    url: str = ""


def crew(
    settings: LocalSettings, home: Home, environ: Mapping[str, str], progress: Progress
) -> tuple[Runner, ...]:
    """Return the runners of the parts that are installed, in the order in which they are shown."""
    environment = {**environ, **_shared(settings, home)}
    return (
        _kafka(settings, home, progress),
        _warehouse(settings, home, environment),
        *_migrate(environment),
        *_service(plan.INGEST, "INGEST_PORT", settings, environment),
        *_service(plan.MERGER, "MERGER_METRICS_PORT", settings, environment),
        *_service(plan.SINK, "SINK_METRICS_PORT", settings, environment),
        *_service(plan.QUERY, "QUERY_PORT", settings, environment),
    )


def _shared(settings: LocalSettings, home: Home) -> dict[str, str]:
    """Return the variables that every part gets, defaults spelt out."""
    return {
        "AFTERWORD_HOME": str(home.path),
        "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{settings.kafka_port}",
        "CLICKHOUSE_URL": f"http://{LOOPBACK}:{settings.clickhouse_port}",
        # The dashboard shows lines to copy, and they lead to this stack's ingest.
        "QUERY_INGEST_URL": f"http://{LOOPBACK}:{settings.ingest_port}",
    }


def _kafka(settings: LocalSettings, home: Home, progress: Progress) -> Runner:
    port, advertised = settings.kafka_own_port, settings.kafka_port

    def prepare() -> Command:
        jars = fetch(kafka_jars(), home.path / "jars", progress)
        return broker.prepare(home.path / "kafka", jars, port, advertised)

    return Runner(
        _part(plan.KAFKA),
        partial(asyncio.to_thread, prepare),
        partial(probes.kafka, port),
        port,
        "KAFKA_BOOTSTRAP_SERVERS" if port == advertised else "KAFKA_LISTEN_PORT",
    )


def _warehouse(settings: LocalSettings, home: Home, environment: Mapping[str, str]) -> Runner:
    port = settings.clickhouse_port
    command = python_module(
        "services.local.warehouse",
        str(home.path / "warehouse"),
        "--port",
        str(port),
        environment=environment,
    )
    return Runner(
        _part(plan.WAREHOUSE), _prepared(command), partial(probes.warehouse, port), port, "CLICKHOUSE_URL"
    )


def _migrate(environment: Mapping[str, str]) -> tuple[Runner, ...]:
    if not _is_installed("services.commands.migrate"):
        return ()
    arguments = ("migrate", "--partitions", str(PARTITIONS))
    command = python_module("services.cli", *arguments, environment=environment)
    return (Runner(_part(plan.MIGRATE), _prepared(command)),)


def _service(
    name: str, variable: str, settings: LocalSettings, environment: Mapping[str, str]
) -> tuple[Runner, ...]:
    module, port = f"services.{name}", settings.ports[variable]
    if not _is_installed(f"{module}.__main__"):
        return ()
    command = python_module(module, environment={**environment, variable: str(port)})
    url = f"http://{LOOPBACK}:{port}" if name in plan.FOR_PEOPLE else ""
    return (Runner(_part(name), _prepared(command), partial(probes.service, port), port, variable, url),)


def _part(name: str) -> Part:
    return next(part for part in plan.PARTS if part.name == name)


def _prepared(command: Command) -> Callable[[], Awaitable[Command]]:
    async def prepare() -> Command:
        return command

    return prepare


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
