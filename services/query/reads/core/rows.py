"""A row as readers get it.  Pure."""

from typing import Any

import orjson

from services.runtime.clickhouse.core.statement import Clause

COLUMNS = (
    "tenant",
    "request_id",
    "version",
    "first_received_at",
    "last_received_at",
    "sources",
    "rating",
    "vote",
    "sentiment",
    "comment",
    "helpful",
    "user_id",
    "tags",
    "model",
    "provider",
    "latency_ms",
    "cost_usd",
    "started_at",
    "data",
    "request",
    "stored_at",
)
"""The columns of the view `feedback`, in its order."""

SELECTED = ", ".join(COLUMNS)


def item(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `feedback` as JSON for people: `data` and `request` opened, `version` as text.

    The tenant is left out: it is the reader's own.
    """
    opened = {"data": orjson.loads(row["data"]), "request": orjson.loads(row["request"])}
    shown = {name: row[name] for name in COLUMNS if name != "tenant"}
    return shown | opened | {"version": str(row["version"])}


def one(tenant: str, request_id: str) -> Clause:
    """Return the WHERE clause of one request."""
    return Clause(
        "tenant = {tenant:String} AND request_id = {request_id:String}",
        {"tenant": tenant, "request_id": request_id},
    )
