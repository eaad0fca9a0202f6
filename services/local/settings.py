"""Settings of the local stack: the variables that its services read, so that multiple stacks can run."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from services.local.core.plan import INGEST, MERGER, MOST_INSTANCES, PORT_STEP, QUERY, SINK, instance_name
from services.runtime.settings import ClickHouseSettings, HomeSettings, KafkaSettings, LogSettings, Port

_LOOPBACK = ("127.0.0.1", "localhost")
_LAST_PORT = 65535
FixedPort = Annotated[int, Field(ge=1, le=_LAST_PORT)]
Instances = Annotated[int, Field(ge=1, le=MOST_INSTANCES)]
SERVICE_PORTS = {
    INGEST: "INGEST_PORT",
    QUERY: "QUERY_PORT",
    MERGER: "MERGER_METRICS_PORT",
    SINK: "SINK_METRICS_PORT",
}
"""The variable that sets the port of a service's first instance."""


class StatusSettings(KafkaSettings, ClickHouseSettings, HomeSettings):
    """What `afterword status` reads."""


class LocalSettings(StatusSettings, LogSettings):
    """The directory and the ports of `afterword up`.  All ports are on loopback."""

    kafka_listen_port: Port = Field(
        default=0,
        description="Port on which the stack's Kafka listens, if a proxy of yours listens at"
        " KAFKA_BOOTSTRAP_SERVERS, the address that Kafka advertises; 0: that same port.",
    )
    ingest_port: FixedPort = Field(default=8080, description="Ingest's HTTP port.")
    query_port: FixedPort = Field(default=8081, description="The query API's HTTP port.")
    merger_metrics_port: FixedPort = Field(default=8082, description="The merger's health and metrics port.")
    sink_metrics_port: FixedPort = Field(default=8083, description="The sink's health and metrics port.")
    afterword_ingests: Instances = Field(
        default=1,
        description="How many ingests run; a further instance listens 10 ports above the one before.",
    )
    afterword_mergers: Instances = Field(default=1, description="How many mergers share the partitions.")
    afterword_sinks: Instances = Field(default=1, description="How many sinks share the partitions.")
    afterword_queries: Instances = Field(default=1, description="How many query services run.")

    @property
    def instances(self) -> dict[str, int]:
        """The number of instances of each service."""
        return {
            INGEST: self.afterword_ingests,
            QUERY: self.afterword_queries,
            MERGER: self.afterword_mergers,
            SINK: self.afterword_sinks,
        }

    def port(self, service: str, number: int = 1) -> int:
        """Return the port of a service's instance."""
        first: int = getattr(self, SERVICE_PORTS[service].lower())
        return first + PORT_STEP * (number - 1)

    @property
    def kafka_port(self) -> int:
        """The port at which clients connect to the stack's Kafka."""
        return int(self.kafka_bootstrap_servers.rpartition(":")[2])

    @property
    def kafka_own_port(self) -> int:
        """The port on which Kafka itself listens: another one if a proxy is in front of it."""
        return self.kafka_listen_port or self.kafka_port

    @property
    def clickhouse_port(self) -> int:
        """The port of the stack's warehouse."""
        return urlsplit(self.clickhouse_url).port or 8123

    @property
    def ports(self) -> dict[str, int]:
        """Every port, by the variable that sets it."""
        proxied = {"KAFKA_LISTEN_PORT": self.kafka_listen_port} if self.kafka_listen_port else {}
        return {
            **proxied,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_port,
            "CLICKHOUSE_URL": self.clickhouse_port,
            **{
                variable if number == 1 else f"{variable} (of {instance_name(service, number)})": self.port(
                    service, number
                )
                for service, variable in SERVICE_PORTS.items()
                for number in range(1, self.instances[service] + 1)
            },
        }

    @model_validator(mode="after")
    def _is_local(self) -> Self:
        mistakes = [*self._foreign_addresses(), *self._shared_ports(), *self._high_ports()]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _foreign_addresses(self) -> list[str]:
        url = urlsplit(self.clickhouse_url)
        checks = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers.rpartition(":")[0] in _LOOPBACK,
            "CLICKHOUSE_URL": url.scheme == "http" and url.hostname in _LOOPBACK,
        }
        return [
            f"{variable} names a server on another machine, but `afterword up` runs its own on 127.0.0.1: "
            "unset it, or start the services individually"
            for variable, fits in checks.items()
            if not fits
        ]

    def _shared_ports(self) -> list[str]:
        users: dict[int, list[str]] = {}
        for variable, port in self.ports.items():
            users.setdefault(port, []).append(variable)
        return [
            f"{' and '.join(variables)} are the same port, {port}"
            for port, variables in users.items()
            if len(variables) > 1
        ]

    def _high_ports(self) -> list[str]:
        return [
            f"{variable} would be port {port}, and the last one is {_LAST_PORT}"
            for variable, port in self.ports.items()
            if port > _LAST_PORT
        ]
