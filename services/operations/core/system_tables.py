"""Statements about the tables of ClickHouse themselves: which there are, their columns and their sizes."""

from typing import NamedTuple

from services.runtime.clickhouse.core.statement import Statement


class LiveTable(NamedTuple):
    """A table as ClickHouse has it; `definition` is its CREATE statement."""

    uuid: str
    comment: str
    definition: str = ""


def tables() -> Statement:
    """Ask for every table: its id, its comment, and its definition."""
    return Statement(
        "SELECT name, toString(uuid) AS uuid, comment, create_table_query AS definition"
        " FROM system.tables WHERE database = currentDatabase()"
    )


def columns(table: str) -> Statement:
    """Ask which columns a row is inserted with."""
    return Statement(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
        " AND default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL') ORDER BY position",
        {"table": table},
    )


def sizes() -> Statement:
    """Ask what each table has on disk."""
    return Statement(
        "SELECT table, sum(bytes_on_disk) AS bytes, sum(rows) AS rows FROM system.parts"
        " WHERE active AND database = currentDatabase() GROUP BY table"
    )


def free_space() -> Statement:
    """Ask how many bytes are free on the fullest disk of ClickHouse."""
    return Statement("SELECT min(unreserved_space) AS bytes FROM system.disks")
