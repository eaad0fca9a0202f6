"""Dead letters for tests of `afterword dlq`: values, rows of the table, and calls of the command."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from schemas.deadletters import Reason, Stage
from schemas.tables import DEAD_LETTERS
from services.operations.dlq.core.dead_letter import DeadLetterId, StoredDeadLetter
from services.operations.dlq.run import DlqSettings
from services.runtime.clickhouse.client import INSERT_SETTINGS, connect
from services.runtime.settings import MASK, ClickHouseSettings, describe
from services.sink.settings import SinkSettings
from tests.support.operations.command import afterword

FAILED_AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def a_letter(offset: int = 0, **changes: Any) -> StoredDeadLetter:
    """Return a letter of the merger about `default/r1`, whose event stood at offset 7 of partition 0."""
    return StoredDeadLetter(
        **{
            "id": DeadLetterId("feedback-events-dlq", 0, offset),
            "tenant": "default",
            "request_id": "r1",
            "stage": Stage.MERGER,
            "reason": Reason.ROW_TOO_LARGE,
            "detail": "the row would have too many keys",
            "original_topic": "feedback-events",
            "original_partition": 0,
            "original_offset": 7,
            "original_version": 7,
            "failed_at": FAILED_AT + timedelta(minutes=offset),
            "size": 10,
            **changes,
        }
    )


def a_row(
    letter: StoredDeadLetter, key: bytes = b"default/r1", value: bytes | None = b"{}"
) -> dict[str, Any]:
    """Return what the sink would insert for a letter, and the marks that it has."""
    names = (
        "tenant", "request_id", "stage", "reason", "detail", "original_topic", "original_partition",
        "original_offset", "original_version", "failed_at", "replayed_at", "dropped_at",
    )  # fmt: skip
    return {
        **dict(zip(("dlq_topic", "dlq_partition", "dlq_offset"), letter.id, strict=True)),
        **{name: getattr(letter, name) for name in names},
        "key_base64": b64encode(key).decode(),
        "raw_base64": None if value is None else b64encode(value).decode(),
        "updated": letter.failed_at,
    }


async def put(settings: ClickHouseSettings, *rows: dict[str, Any]) -> None:
    """Insert rows into the table of dead letters."""
    client = await connect(settings)
    try:
        # Named, since values that are not stored are taken only for columns that are named.
        body = b"\n".join(map(orjson.dumps, rows))
        await client.raw_insert(
            DEAD_LETTERS, list(rows[0]), body, settings=dict(INSERT_SETTINGS), fmt="JSONEachRow"
        )
    finally:
        await client.close()


def environ(settings: SinkSettings) -> dict[str, str]:
    """Return the variables that lead the command to the same servers, topics and tables."""
    known = {name.upper() for name in DlqSettings.model_fields}
    return {
        one.variable: one.value for one in describe(settings) if one.variable in known and one.value != MASK
    }


async def dlq(variables: dict[str, str], *arguments: str | Path, expect: int = 0) -> str:
    """Call `afterword dlq`; what it printed, errors behind the rest.  There is nobody to ask."""
    ended = await asyncio.to_thread(afterword, "dlq", *arguments, environ=variables)
    assert ended.code == expect, ended.out + ended.err
    return ended.out + ended.err
