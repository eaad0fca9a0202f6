"""What an answer costs: one write."""

import asyncio
from pathlib import Path
from typing import Any

from uvicorn.server import ServerState

from services.runtime.http import server
from services.runtime.http.bounded import bounded
from services.runtime.http.limits import ConnectionLimits
from tests.support.eventually import eventually
from tests.support.ingest.app import ingest_over
from tests.support.ingest.fake_log import FakeLog

REQUEST = b'POST /feedback/r HTTP/1.1\r\nhost: localhost\r\ncontent-length: 23\r\n\r\n{"data": {"rating": 5}}'


class Transport(asyncio.Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell two addresses."""
        return ("127.0.0.1", 1) if name in {"sockname", "peername"} else default

    def resume_reading(self) -> None:
        """Never was paused."""

    def close(self) -> None:
        """Closed before."""


async def test_an_answer_is_one_write(tmp_path: Path) -> None:
    """Head and body together: each write is a call of the system."""
    protocol = bounded(ConnectionLimits())
    config = server.config(ingest_over(FakeLog(), tmp_path), protocol)
    config.load()
    connection = protocol(config=config, server_state=ServerState(), app_state={})
    transport = Transport()
    connection.connection_made(transport)
    for number in range(1, 4):
        connection.data_received(REQUEST)
        await eventually(lambda: len(transport.written) >= number, every=0)  # noqa: B023

    assert [answer.partition(b"\r\n")[0] for answer in transport.written] == [b"HTTP/1.1 202 Accepted"] * 3
    connection.connection_lost(None)
