"""The engine of one directory, and connections to it.

chdb is quiet about what it allows, so this was found by trial: connections of one process run in parallel,
a connection runs one statement at a time, opening one costs a tenth of a millisecond, and settings, database
and temporary tables belong to the connection.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chdb import _chdb

_SERVER_DEFAULTS = "SET implicit_select = 0"
"""The engine takes `garbage` for `SELECT garbage`; a server does not."""


def quoted(text: str) -> str:
    """Return an SQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted_name(text: str) -> str:
    """Return an SQL name."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Link:
    """One connection.  Any thread may use it, one at a time."""

    def __init__(self, address: str) -> None:
        self.raw: Any = _chdb.connect(address)  # type: ignore[attr-defined] # chdb's stub leaves it out
        self.run(_SERVER_DEFAULTS)

    def run(self, sql: str) -> None:
        """Run a statement that answers nothing."""
        self.raw.query(sql, "Null")

    def rows(self, sql: str | bytes, binds: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a small query."""
        answer = self.raw.query(sql, "JSONEachRow", params=dict(binds or {})).bytes()
        return [json.loads(line) for line in answer.splitlines()]

    def use(self, database: str) -> None:
        """Make a database the current one."""
        self.run(f"USE {quoted_name(database)}")

    def set(self, settings: Mapping[str, str]) -> None:
        """Set settings; their names must have been checked."""
        if settings:
            self.run("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """Return what settings are now, by name."""
        wanted = ", ".join(quoted(name) for name in names)
        rows = self.rows(f"SELECT name, value FROM system.settings WHERE name IN ({wanted})")  # noqa: S608 (quoted)
        return {row["name"]: row["value"] for row in rows}

    def database(self) -> str:
        """Return the current database."""
        name: str = self.rows("SELECT currentDatabase() AS name")[0]["name"]
        return name

    def close(self) -> None:
        """Close the connection; an unfinished streaming query ends."""
        self.raw.close()


class Connections:
    """Opens connections to one directory; the engine runs as long as this is open."""

    def __init__(self, directory: Path, memory_bytes: int) -> None:
        self._address = f"{directory}?max_server_memory_usage={memory_bytes}"
        self._root = Link(self._address)
        about = self._root.rows("SELECT version() AS version, timezone() AS timezone")[0]
        self.version: str = about["version"]
        self.timezone: str = about["timezone"]

    def open(self) -> Link:
        """Return a new connection."""
        return Link(self._address)

    def kill(self, markers: Iterable[str]) -> None:
        """End the queries that run under these markers (their log_comment), without waiting for it.

        Asking the streaming query itself to stop would wait as long as a blocked fetch does.
        """
        link = self.open()
        try:
            wanted = ", ".join(quoted(marker) for marker in markers)
            link.run(f"KILL QUERY WHERE Settings['log_comment'] IN ({wanted}) ASYNC")
        finally:
            link.close()

    def close(self) -> None:
        """Shut the engine down."""
        self._root.close()
