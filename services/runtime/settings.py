"""Settings from the environment: every mistake reported at once, and nothing started on nonsense.

A field's name in upper case is its environment variable: `ingest_port` is `INGEST_PORT`.  Only
`__main__` modules and commands read the environment; everything else is handed values.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, JsonValue, PrivateAttr, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from services.runtime.http.core.proxies import checked_networks, checked_root

MASK = "********"
FOUND_OUT: dict[str, JsonValue] = {"found_out": True}
"""Marks a field whose default holds only until a process has found out the value."""


def _host_and_port(text: str) -> str:
    for server in text.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{server.strip()!r} is not host:port (several are separated by commas)")
    return text.replace(" ", "")


def _http_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError(f"{text!r} does not start with http:// or https://")
    return text.rstrip("/")


Servers = Annotated[str, AfterValidator(_host_and_port)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=0, le=65535)]
"""0 means: any free port."""
Networks = Annotated[str, AfterValidator(checked_networks)]
"""Networks such as `10.0.0.0/8`, separated by commas, or `none`."""
RootPath = Annotated[str, AfterValidator(checked_root)]
"""The path prefix under which a proxy publishes a service, without a slash at its end; or empty."""


class SettingsError(ValueError):
    """Settings that no service can run on.  `mistakes` has a line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Settings(BaseSettings):
    """What all settings share.  `prefix` is the service's own, in which unknown variables are mistakes."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file=None, validate_default=True)

    prefix: ClassVar[str] = ""
    """For example `INGEST_`.  Unknown variables that begin with it are refused as typing errors."""
    neighbours: ClassVar[tuple[str, ...]] = ()
    """Variables that begin with the prefix though another part reads them."""

    _passed_over: tuple[str, ...] = PrivateAttr(())

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Variables of these settings that are service links, and so were not read."""
        return self._passed_over

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the signature is pydantic's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values only from `load`, so that building settings in a test never reads the environment."""
        return (init_settings,)

    def replace(self, **changes: Any) -> Self:
        """Return these settings with some values changed, validated again."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **changes})


class KafkaSettings(Settings):
    """Where Kafka is."""

    kafka_bootstrap_servers: Servers = Field(
        default="127.0.0.1:9092", description="Kafka brokers, host:port, separated by commas."
    )
    kafka_topic_generation: int = Field(
        default=0,
        ge=0,
        lt=2**16,
        description="Generation of the topics: 0 is `feedback-events`, 2 is `feedback-events-v2`;"
        " unset: the one in use is found in Kafka.",
        json_schema_extra=FOUND_OUT,
    )

    @property
    def is_generation_given(self) -> bool:
        """Whether the environment names the generation; else `generations.resolved` finds it."""
        return "kafka_topic_generation" in self.model_fields_set


class ClickHouseSettings(Settings):
    """Where ClickHouse is."""

    clickhouse_url: HttpUrl = Field(
        default="http://127.0.0.1:8123", description="ClickHouse's HTTP interface."
    )
    clickhouse_database: str = Field(
        default="afterword", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="Database of all tables."
    )
    clickhouse_user: str = Field(default="default", description="ClickHouse user.")
    clickhouse_password: SecretStr = Field(default=SecretStr(""), description="The user's password.")
    clickhouse_password_file: Path | None = Field(
        default=None, description="File that holds the password; wins over CLICKHOUSE_PASSWORD."
    )

    def password(self) -> str:
        """Return the password, from its file where one is named; OSError when that cannot be read."""
        if self.clickhouse_password_file is not None:
            return self.clickhouse_password_file.read_text(encoding="utf-8").strip()
        return self.clickhouse_password.get_secret_value()


class LogSettings(Settings):
    """How a process logs."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe level that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is console on a terminal and json elsewhere."
    )


class HomeSettings(Settings):
    """Where an installation keeps its files."""

    afterword_home: Path = Field(
        default=Path(".afterword"), description="Directory of the local stack's data, logs and process ids."
    )
    afterword_keys_file: Path | None = Field(
        default=None, description="TOML file of API keys; unset: `keys.toml` in AFTERWORD_HOME, if it exists."
    )

    afterword_audit_file: Path | None = Field(
        default=None,
        description="The audit log of admin acts, a file or a stream such as `/dev/stdout`; "
        "unset: `audit.ndjson` in AFTERWORD_HOME.",
    )

    @property
    def audit_file(self) -> Path:
        """The audit log, whether it exists or not."""
        return self.afterword_audit_file or self.afterword_home / "audit.ndjson"

    @property
    def keys_file(self) -> Path:
        """The key file, whether it exists or not."""
        return self.afterword_keys_file or self.afterword_home / "keys.toml"


S = TypeVar("S", bound=Settings)


def load(cls: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Return the settings that the environment gives; SettingsError lists every mistake.

    An empty variable counts as unset, as compose files and shells leave them, and so does a service link.
    """
    environ = os.environ if environ is None else environ
    links = service_links(environ)
    environ = {name: value for name, value in environ.items() if name not in links}
    given: dict[str, Any] = {
        name.lower(): value for name, value in environ.items() if name.isupper() and value != ""
    }
    mistakes = list(_unknown(cls, environ))
    try:
        settings = cls(**{name: value for name, value in given.items() if name in cls.model_fields})
    except ValidationError as error:
        mistakes += _explained(error)
    if mistakes:
        raise SettingsError(mistakes)
    settings._passed_over = tuple(sorted(links & {name.upper() for name in cls.model_fields}))
    return settings


_LINKED = re.compile(r"(?:tcp|udp|sctp)://[^\s/]+:[0-9]+")
_LINKS = (
    (re.compile(r".+_PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?"), _LINKED),
    (re.compile(r".+_PORT_[0-9]+_(?:TCP|UDP|SCTP)_PROTO"), re.compile(r"tcp|udp|sctp")),
    (re.compile(r".+_PORT_[0-9]+_(?:TCP|UDP|SCTP)_PORT"), re.compile(r"[0-9]+")),
    (re.compile(r".+_(?:SERVICE_HOST|PORT_[0-9]+_(?:TCP|UDP|SCTP)_ADDR)"), re.compile(r"[0-9a-fA-F.:]+")),
    (re.compile(r".+_SERVICE_PORT(?:_[A-Z0-9_]+)?"), re.compile(r"[0-9]+")),
)
"""Names of service links, and the values that they have."""


def service_links(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the variables that an orchestrator set for its own services, whatever they are named.

    Kubernetes gives every container `INGEST_PORT=tcp://10.0.0.1:8080`, `INGEST_SERVICE_HOST` and more for a
    Service that is named `ingest`, as Docker does for links.  No setting has such a value.
    """
    return frozenset(
        name
        for name, value in environ.items()
        if any(named.fullmatch(name) and valued.fullmatch(value) for named, valued in _LINKS)
    )


def _unknown(cls: type[Settings], environ: Mapping[str, str]) -> Iterator[str]:
    known = [name.upper() for name in cls.model_fields]
    for name in sorted(environ):
        if cls.prefix and name.startswith(cls.prefix) and name not in (*known, *cls.neighbours):
            near = get_close_matches(name, known, n=1)
            yield f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _explained(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False):
        name = str(fault["loc"][0]).upper() if fault["loc"] else "settings"
        value = "" if "PASSWORD" in name or not fault["loc"] else f" (got {fault['input']!r})"
        lines.append(f"{name}: {fault['msg'].removeprefix('Value error, ')}{value}")
    return lines


@dataclass(frozen=True)
class DescribedSetting:
    """A setting as `afterword config check` and the settings page show it; secrets are masked."""

    variable: str
    value: str
    default: str
    description: str


def describe(settings: Settings) -> list[DescribedSetting]:
    """Return every setting of a service with its effective value."""
    return [
        DescribedSetting(
            name.upper(), _value(settings, name, field), _default(field), field.description or ""
        )
        for name, field in type(settings).model_fields.items()
    ]


def _value(settings: Settings, name: str, field: FieldInfo) -> str:
    unset = field.json_schema_extra is FOUND_OUT and name not in settings.model_fields_set
    return "" if unset else _text(getattr(settings, name))


def _default(field: FieldInfo) -> str:
    if field.json_schema_extra is FOUND_OUT:
        return ""
    return _text(field.get_default(call_default_factory=True, validated_data={}))


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
