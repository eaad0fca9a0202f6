"""Ingest over a log in memory, without keys."""

from pathlib import Path

import httpx
import pytest

from tests.support.ingest.app import client_of, ingest_over
from tests.support.ingest.fake_log import FakeLog


@pytest.fixture
def log() -> FakeLog:
    """A log in memory."""
    return FakeLog()


@pytest.fixture
def client(log: FakeLog, tmp_path: Path) -> httpx.AsyncClient:
    """A client on this machine of an ingest without keys."""
    return client_of(ingest_over(log, tmp_path))
