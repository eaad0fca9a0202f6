"""The log in memory, held against what every log must do."""

import pytest

from tests.support.ingest.fake_log import FakeLog
from tests.support.ingest.log_contract import LogContract, Reading


class TestFakeLog(LogContract):
    """The suite is the same as for Kafka."""

    @pytest.fixture
    def log(self) -> FakeLog:
        """An empty log."""
        return FakeLog()

    @pytest.fixture
    def reading(self, log: FakeLog) -> Reading:
        """What it holds."""

        async def read() -> list[list[tuple[bytes, bytes]]]:
            return log.partitions

        return read
