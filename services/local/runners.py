"""How each part of the stack is started and probed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

from services.local import broker, probes
from services.local.core import plan
from services.local.core.kafka_config import LOOPBACK, PARTITIONS
from services.local.core.plan import Part
from services.local.core.supervision import Observation
from services.local.home import Home
from services.local.jars import Progress, fetch, kafka_jars
from services.local.processes import Command, python_module
from services.local.settings import SERVICE_PORTS, LocalSettings


@dataclass(frozen=True)
class PartRunner:
    """A part, how to start and to probe it, the `variable` that sets its port, and its `url` for users."""

    part: Part
    prepare: Callable[[], Awaitable[Command]]
    probe: Callable[[], Awaitable[Observation]] | None = None
    port: int = 0
    variable: str = ""
    url: str = ""
    address: str = ""
    """Its address in the format of the settings of commands."""


def part_runners(
    settings: LocalSettings,
    home: Home,
    environ: Mapping[str, str],
    progress: Progress,
    *,
    recover: bool = False,
) -> tuple[PartRunner, ...]:
    """Return the runners of the installed parts, in the order in which they are shown.

    `recover`: if Kafka lost records, the migration moves to a generation that it fills from ClickHouse.
    """
    environment = {**_QUICK, **environ, **_shared(settings, home)}
    return (
        _kafka(settings, home, progress),
        _warehouse(settings, home, environment),
        *_migrate(environment, recover=recover),
        *(runner for name in plan.SERVICES for runner in _service(name, settings, environment)),
    )


_QUICK = {"INGEST_DRAIN_SECONDS": "0", "QUERY_DRAIN_SECONDS": "0"}
"""No load balancer in front of these parts needs time to notice that one stops."""


def _shared(settings: LocalSettings, home: Home) -> dict[str, str]:
    """Return the environment variables of every part, with their defaults."""
    return {
        "AFTERWORD_HOME": str(home.path),
        "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{settings.kafka_port}",
        "CLICKHOUSE_URL": f"http://{LOOPBACK}:{settings.clickhouse_port}",
        # The dashboard shows commands to copy, which must use this stack's ingest.
        "QUERY_INGEST_URL": f"http://{LOOPBACK}:{settings.ingest_port}",
    }


def _kafka(settings: LocalSettings, home: Home, progress: Progress) -> PartRunner:
    port, advertised = settings.kafka_own_port, settings.kafka_port

    def prepare() -> Command:
        jars = fetch(kafka_jars(), home.path / "jars", progress)
        return broker.prepare(home.path / "kafka", jars, port, advertised)

    return PartRunner(
        _part(plan.KAFKA),
        partial(asyncio.to_thread, prepare),
        partial(probes.kafka, port),
        port,
        "KAFKA_BOOTSTRAP_SERVERS" if port == advertised else "KAFKA_LISTEN_PORT",
        address=f"{LOOPBACK}:{advertised}",
    )


def _warehouse(settings: LocalSettings, home: Home, environment: Mapping[str, str]) -> PartRunner:
    port = settings.clickhouse_port
    command = python_module(
        "chdb_server",
        str(home.path / "warehouse"),
        "--port",
        str(port),
        environment=environment,
    )
    return PartRunner(
        _part(plan.WAREHOUSE),
        _prepared(command),
        partial(probes.warehouse, port),
        port,
        "CLICKHOUSE_URL",
        address=f"http://{LOOPBACK}:{port}",
    )


def _migrate(environment: Mapping[str, str], *, recover: bool) -> tuple[PartRunner, ...]:
    if not _is_installed("services.operations.migrate"):
        return ()
    arguments = ("migrate", *(("--recover",) if recover else ("--partitions", str(PARTITIONS))))
    command = python_module("services.cli", *arguments, environment=environment)
    return (PartRunner(_part(plan.MIGRATE), _prepared(command)),)


def _service(service: str, settings: LocalSettings, environment: Mapping[str, str]) -> Iterator[PartRunner]:
    """Yield the runners of a service's instances, if it is installed."""
    if _is_installed(f"services.{service}.__main__"):
        for number in range(1, settings.instances[service] + 1):
            yield _instance(service, number, settings, environment)


def _instance(
    service: str, number: int, settings: LocalSettings, environment: Mapping[str, str]
) -> PartRunner:
    """Return the runner of one instance, which has its own port and, if it is a merger, its own directory."""
    variable, port = SERVICE_PORTS[service], settings.port(service, number)
    own = {variable: str(port)}
    url = f"http://{LOOPBACK}:{port}"
    if service == plan.MERGER:
        own["MERGER_INSTANCE"] = str(number)
    return PartRunner(
        replace(_part(service), name=plan.instance_name(service, number)),
        _prepared(python_module(f"services.{service}", environment={**environment, **own})),
        partial(probes.service, port),
        port,
        variable,
        url if service in plan.USER_FACING else "",
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
