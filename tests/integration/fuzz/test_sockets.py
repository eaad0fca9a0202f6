"""Some dozen conversations in raw bytes with ingest behind its real server: the long form is `make fuzz`."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fuzz.conversations import conversations
from fuzz.framings import exchanges
from fuzz.sockets import exchange, talk
from tests.support.http.server import serving
from tests.support.ingest.app import ingest_over
from tests.support.ingest.fake_log import FakeLog

CONVERSATIONS = 40


@pytest.mark.parametrize(
    ("drawn", "hold"), [(conversations, talk), (exchanges, exchange)], ids=["anything", "between-requests"]
)
async def test_every_connection_ends_and_no_answer_is_a_fault(
    tmp_path: Path, drawn: Any, hold: Callable[[int, Any], object]
) -> None:
    """Wrong lengths, broken chunks, odd headers, cut bodies; upgrades, trailers and half-closes."""
    async with serving(ingest_over(FakeLog(), tmp_path)) as url:
        port = urlsplit(url).port or 0

        @settings(
            max_examples=CONVERSATIONS,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(drawn("ingest"))
        def held(conversation: Any) -> None:
            hold(port, conversation)

        await asyncio.to_thread(held)
