"""Puts directories of a Kafka node back to an earlier state, as a restored volume does."""

import shutil
from pathlib import Path

from tests.support.stack.local_servers import OwnKafka


class KafkaCopy:
    """The partitions of some topics as they are now.  Take and restore it while the node is down."""

    def __init__(self, kafka: OwnKafka, backup: Path, *topics: str) -> None:
        self._data, self._backup = kafka.directory / "data", backup
        for topic in topics:
            for partition in self._data.glob(f"{topic}-[0-9]*"):
                shutil.copytree(partition, backup / partition.name)

    def restore(self) -> None:
        """Put them back in place of what is there."""
        for partition in self._backup.iterdir():
            shutil.rmtree(self._data / partition.name)
            shutil.copytree(partition, self._data / partition.name)
