"""The whole judgement, in its order."""

from collections.abc import Sequence
from pathlib import Path

from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.chaos.judge.verdict import Verdict


async def judge(
    ledger_directory: Path,
    kafka: KafkaSettings,
    clickhouse: ClickHouseSettings,
    merger_homes: Sequence[Path],
) -> Verdict:
    """Return what is amiss after a run; the errors of Kafka's and ClickHouse's clients when they are away."""
    raise NotImplementedError
