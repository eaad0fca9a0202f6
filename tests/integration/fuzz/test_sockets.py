"""Some dozen conversations in raw bytes with ingest behind its real server: the long form is `make fuzz`."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.conversations import Conversation, conversations
from tests.fuzz.sockets import talk
from tests.support.fake_log import FakeLog
from tests.support.ingest import ingest_over
from tests.support.serving import serving

CONVERSATIONS = 40


async def test_every_connection_ends_and_no_answer_is_a_fault(tmp_path: Path) -> None:
    """Wrong lengths, broken chunks, odd headers, cut bodies, requests behind each other."""
    async with serving(ingest_over(FakeLog(), tmp_path)) as url:
        port = urlsplit(url).port or 0

        @settings(
            max_examples=CONVERSATIONS,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(conversations("ingest"))
        def hold(conversation: Conversation) -> None:
            talk(port, conversation)

        await asyncio.to_thread(hold)
