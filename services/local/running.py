"""Where the parts of a stack that runs are reached, for commands that are called beside it."""

from pathlib import Path

from services.local.core.plan import INGEST, KAFKA, QUERY, WAREHOUSE
from services.local.home import Home

_VARIABLES = {
    KAFKA: "KAFKA_BOOTSTRAP_SERVERS",
    WAREHOUSE: "CLICKHOUSE_URL",
    INGEST: "AFTERWORD_URL",
    QUERY: "AFTERWORD_QUERY_URL",
}


def addresses(directory: Path) -> dict[str, str]:
    """Return the addresses of the stack that runs in a directory, by the variable that names each.

    Empty where none runs.
    """
    state = Home(directory).state()
    if not state or not _runs(state["pid"], state["created"]):
        return {}
    parts = state["parts"]
    found = {variable: parts.get(name, {}).get("address") for name, variable in _VARIABLES.items()}
    return {variable: address for variable, address in found.items() if address}


def _runs(pid: int, created: float) -> bool:
    try:
        from services.local.processes import Identity, is_running  # noqa: PLC0415 (without it, no stack runs)
    except ModuleNotFoundError:
        return False
    return is_running(Identity(pid, created))
