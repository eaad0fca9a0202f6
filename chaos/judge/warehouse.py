"""Reads ClickHouse's tables, row by row."""

from collections.abc import AsyncIterator
from typing import Any

from clickhouse_connect.driver.asyncclient import AsyncClient

from chaos.judge.bodies import value_of

_SETTINGS = {"output_format_json_quote_64bit_integers": "0"}

ROWS = """
    SELECT tenant, request_id, revision, version,
        toUnixTimestamp64Micro(first_received_at), toUnixTimestamp64Micro(last_received_at),
        sources, data, request
    FROM feedback_state FINAL
"""
VIEW = "SELECT tenant, request_id, version FROM feedback"
EVENTS = """
    SELECT tenant, request_id, version, log_offset, toString(event_id), op, source,
        toUnixTimestamp64Micro(received_at), toUInt8(idempotent), data, request,
        item_id, toUnixTimestamp64Micro(at)
    FROM feedback_events FINAL
"""
EVENT_IDS = "SELECT toString(event_id) FROM feedback_events FINAL"
LETTERS = """
    SELECT dlq_topic, dlq_partition, dlq_offset, stage, reason,
        original_topic, original_partition, original_offset, original_version,
        lower(hex(key)), lower(hex(raw))
    FROM dead_letters FINAL
"""


async def rows(client: AsyncClient, statement: str) -> AsyncIterator[list[Any]]:
    """Yield the rows that a statement gives, without holding all of them."""
    stream = await client.raw_stream(statement, settings=_SETTINGS, fmt="JSONCompactEachRow")
    rest = b""
    async with stream:
        async for piece in stream:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield value_of(line)
    if rest.strip():
        yield value_of(rest)
