"""How each part of the stack is started and asked how it is."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

from services.local import broker, probes
from services.local.child import Command, python_module
from services.local.core import plan
from services.local.core.kafka_config import LOOPBACK, PARTITIONS
from services.local.core.plan import Part
from services.local.core.supervision import Sight
from services.local.home import Home
from services.local.jars import Progress, fetch, kafka_jars
from services.local.settings import SERVICE_PORTS, LocalSettings


@dataclass(frozen=True)
class Runner:
    """A part with what starts it and what asks it; `variable` sets its port, people go to its `url`."""

    part: Part
    prepare: Callable[[], Awaitable[Command]]
    probe: Callable[[], Awaitable[Sight]] | None = None
    port: int = 0
    variable: str = ""
    url: str = ""
    address: str = ""
    """Where commands reach it, as their settings write it."""


def crew(
    settings: LocalSettings,
    home: Home,
    environ: Mapping[str, str],
    progress: Progress,
    *,
    recover: bool = False,
) -> tuple[Runner, ...]:
    """Return the runners of the parts that are installed, in the order in which they are shown.

    `recover`: where Kafka lost something, the migration goes on with a generation that it fills.
    """
    environment = {**_QUICK, **environ, **_shared(settings, home)}
    return (
        _kafka(settings, home, progress),
        _warehouse(settings, home, environment),
        *_migrate(environment, recover=recover),
        *(runner for name in plan.SERVICES for runner in _service(name, settings, environment)),
    )


_QUICK = {"INGEST_DRAIN_SECONDS": "0", "QUERY_DRAIN_SECONDS": "0"}
"""Nothing stands in front of these parts that would need time to notice that one stops."""


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
        address=f"{LOOPBACK}:{advertised}",
    )


def _warehouse(settings: LocalSettings, home: Home, environment: Mapping[str, str]) -> Runner:
    port = settings.clickhouse_port
    command = python_module(
        "chdb_server",
        str(home.path / "warehouse"),
        "--port",
        str(port),
        environment=environment,
    )
    return Runner(
        _part(plan.WAREHOUSE),
        _prepared(command),
        partial(probes.warehouse, port),
        port,
        "CLICKHOUSE_URL",
        address=f"http://{LOOPBACK}:{port}",
    )


def _migrate(environment: Mapping[str, str], *, recover: bool) -> tuple[Runner, ...]:
    if not _is_installed("services.operations.migrate"):
        return ()
    arguments = ("migrate", *(("--recover",) if recover else ("--partitions", str(PARTITIONS))))
    command = python_module("services.cli", *arguments, environment=environment)
    return (Runner(_part(plan.MIGRATE), _prepared(command)),)


def _service(service: str, settings: LocalSettings, environment: Mapping[str, str]) -> Iterator[Runner]:
    """Yield the runners of a service's instances, if it is installed."""
    if _is_installed(f"services.{service}.__main__"):
        for number in range(1, settings.instances[service] + 1):
            yield _instance(service, number, settings, environment)


def _instance(service: str, number: int, settings: LocalSettings, environment: Mapping[str, str]) -> Runner:
    """Return the runner of one instance, which has a port and, if it is a merger, a directory of its own."""
    variable, port = SERVICE_PORTS[service], settings.port(service, number)
    own = {variable: str(port)}
    url = f"http://{LOOPBACK}:{port}"
    if service == plan.MERGER:
        own["MERGER_INSTANCE"] = str(number)
    return Runner(
        replace(_part(service), name=plan.instance_name(service, number)),
        _prepared(python_module(f"services.{service}", environment={**environment, **own})),
        partial(probes.service, port),
        port,
        variable,
        url if service in plan.FOR_PEOPLE else "",
        url,
    )


def _part(name: str) -> Part:
    return next(part for part in plan.parts({}) if part.name == name)


def _prepared(command: Command) -> Callable[[], Awaitable[Command]]:
    async def prepare() -> Command:
        return command

    return prepare


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
