"""Ingest over a log in memory with one partition, so that events are in the order of the calls."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.ingest.app import client_of, ingest_over
from tests.support.ingest.fake_log import FakeLog
from tests.support.ingest.logged_events import LoggedEvents


@pytest.fixture
def log() -> FakeLog:
    """A log in memory."""
    return FakeLog(partitions=1)


@pytest.fixture
async def client(log: FakeLog, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an ingest without keys, whose events can be read as soon as they are written."""
    async with client_of(ingest_over(log, tmp_path, stored_events=LoggedEvents(log))) as client:
        yield client
