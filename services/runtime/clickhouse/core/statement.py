"""A statement for ClickHouse: SQL text of ours, and values that are sent beside it.

No value of a caller is ever part of the text: names of parameters are, and the server puts the values in.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class QueryCost(Enum):
    """Which limits a query runs under."""

    QUESTION = "question"
    """Answered while the client waits."""
    EXPORT = "export"
    """Streamed for as long as it takes."""


class Pace(NamedTuple):
    """How much of a stream ClickHouse works on at once: its settings, by name; 0 leaves it the choice."""

    max_block_size: int
    max_threads: int


@dataclass(frozen=True)
class Statement:
    """One SELECT.  `parameters` fill its `{name:Type}` places on the server."""

    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def tenant(self) -> str:
        """The tenant whose rows it reads; empty for rows without a tenant, as positions are."""
        return str(self.parameters.get("tenant", ""))


@dataclass(frozen=True)
class Clause:
    """A part of a statement, and the values of its places."""

    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)


class SqlParameters:
    """Hands out names for values, so that parts of a statement never use one name twice."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}

    def tenant(self, tenant: str) -> str:
        """Return the place of the tenant in SQL, whose name is the same in every statement."""
        self.parameters["tenant"] = tenant
        return "{tenant:String}"

    def place(self, value: Any, kind: str) -> str:
        """Return the place of a value in SQL: `{p0:String}`."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"
