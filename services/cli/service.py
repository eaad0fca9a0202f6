"""`afterword ingest`, `merger`, `sink`, `query`: run one service here, as `python -m services.X` does."""

import sys
from runpy import run_module
from typing import Annotated

import typer


def ingest() -> None:
    """Run ingest: accepts feedback over HTTP, with success once Kafka has it.

    Its settings are environment variables: `afterword config check ingest`
    shows them.  SIGTERM or Ctrl-C stops it after the responses in progress.
    """
    _run("ingest")


def query() -> None:
    """Run query: the read API, exports and the dashboard, on the tables of ClickHouse.

    Its settings are environment variables: `afterword config check query`
    shows them.  SIGTERM or Ctrl-C stops it; it has no state that could be lost.
    """
    _run("query")


sink = typer.Typer(invoke_without_command=True)


@sink.callback()
def _sink(ctx: typer.Context) -> None:
    """Run the sink: stores states, events and dead letters in ClickHouse.

    Its settings are environment variables: `afterword config check sink`
    shows them.  SIGTERM or Ctrl-C stops it; a kill loses nothing either.
    """
    if ctx.invoked_subcommand is None:
        _run("sink")


@sink.command("accept-loss")
def _sink_accepts_loss(
    *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False
) -> None:
    """Continue although records were deleted from the log before they were stored.

    The sink refuses to start then, because those records are lost.  This
    prints how many they are, asks, and moves its offsets behind them.
    """
    _run("sink", "accept-loss", *(["--yes"] if yes else []))


merger = typer.Typer(invoke_without_command=True)


@merger.callback()
def _merger(ctx: typer.Context) -> None:
    """Run the merger: folds the events of each request into its latest state, in Kafka transactions.

    Its settings are environment variables: `afterword config check merger`
    shows them.  SIGTERM or Ctrl-C stops it; a kill loses nothing either.
    """
    if ctx.invoked_subcommand is None:
        _run("merger")


@merger.command()
def accept_loss(
    *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False
) -> None:
    """Continue although events were deleted from the log before they were merged.

    The merger refuses to start then, because those events are lost.  This
    prints how many they are, asks, and moves its offset behind them.
    """
    _run("merger", "accept-loss", *(["--yes"] if yes else []))


def _run(name: str, *arguments: str) -> None:
    sys.argv = [f"afterword {name}", *arguments]
    run_module(f"services.{name}", run_name="__main__", alter_sys=True)
