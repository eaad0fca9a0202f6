"""Ingest behind a real socket, over a log in memory: clients are held against what it takes and answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.http.browser import browser
from tests.support.http.server import serving
from tests.support.ingest.app import decoded, ingest_over, new_key
from tests.support.ingest.fake_log import FakeLog

__all__ = ["browser"]

MANY = 20
"""Requests that each client sends, on connections that it keeps."""


@dataclass(frozen=True)
class Door:
    """Where it is, a key that may write, and what it wrote."""

    url: str
    key: str
    log: FakeLog

    def ratings(self) -> dict[str, int]:
        """Return the rating of each request, after checking that each was written once."""
        events = decoded(self.log.events)
        found = {event["request_id"]: event["data"]["rating"] for event in events}
        assert len(found) == len(events)
        return found


def expected(name: str, count: int = MANY) -> dict[str, int]:
    """Return the ratings that a client sends: ids with a slash in them."""
    return {f"{name}/{number}": number for number in range(count)}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """Ingest with a key."""
    log, key = FakeLog(), new_key(tmp_path)
    async with serving(ingest_over(log, tmp_path)) as url:
        yield Door(url, key, log)
