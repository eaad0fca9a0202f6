"""Errors of commands for a server that is unreachable or refuses."""

from clickhouse_connect.driver.exceptions import Error

from services.operations.exits import CommandError, UnreachableError
from services.runtime.settings import ClickHouseSettings, KafkaSettings

_UNKNOWN = frozenset({47, 60, 81})
"""ClickHouse's codes for missing columns, tables and databases."""


def clickhouse_failed(error: Exception, settings: ClickHouseSettings) -> CommandError:
    """Return the error of a failed call of ClickHouse, with what a user can do."""
    server = f"ClickHouse at {settings.clickhouse_url}"
    code = error.code if isinstance(error, Error) else None
    first = str(error).partition("\n")[0][:300]
    if code in _UNKNOWN:
        return CommandError(f"{server} lacks tables or columns: run `afterword migrate`.  ({first})")
    if code is not None:
        return CommandError(f"{server} refuses: {first}")
    return UnreachableError(f"{server} does not answer: is it running, and is CLICKHOUSE_URL right?")


def kafka_unreachable(settings: KafkaSettings) -> UnreachableError:
    """Return the error of an unreachable Kafka."""
    return UnreachableError(
        f"Kafka at {settings.kafka_bootstrap_servers} does not answer: is it running, and is"
        " KAFKA_BOOTSTRAP_SERVERS right?"
    )
