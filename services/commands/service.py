"""`afterword ingest`, `merger`, `sink`: run one service in this process, as `python -m services.X` does."""

from runpy import run_module


def ingest() -> None:
    """Run ingest: takes feedback over HTTP, and answers success once Kafka has it.

    Its settings are environment variables: `afterword config check ingest` shows them.
    It stops on SIGTERM or Ctrl-C, after the answers it owes.
    """
    _run("ingest")


def merger() -> None:
    """Run the merger: folds the events of each request into its latest state, in Kafka transactions.

    Its settings are environment variables: `afterword config check merger` shows them.
    """
    _run("merger")


def sink() -> None:
    """Run the sink: stores states, events and dead letters in ClickHouse.

    Its settings are environment variables: `afterword config check sink` shows them.
    """
    _run("sink")


def _run(name: str) -> None:
    run_module(f"services.{name}", run_name="__main__", alter_sys=True)
