"""A merger without transactions: a producer without fencing, and offsets that are committed separately.

`PLANTED_MERGER=early` commits them before the rows are acknowledged; otherwise it is `unfenced`, and does so
after, but sends whatever it had in hand when it wakes up as a zombie.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Self
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from chaos.planted import once
from schemas.topics import Topology
from services.merger import partition
from services.merger.__main__ import main
from services.merger.settings import MergerSettings
from services.merger.transaction import Outgoing, TransactionWriter
from services.runtime.kafka.clients import client_options
from services.runtime.kafka.core.log_mark import LogMark

VARIANT, EARLY = "PLANTED_MERGER", "early"
_BATCH_BYTES = 2 << 20


Rows = Mapping[bytes, tuple[bytes | None, int]]


class PlainWriter(TransactionWriter):
    """Sends without a transaction, and commits offsets in one that holds nothing else."""

    _committer: AIOKafkaProducer

    @classmethod
    async def open(cls, settings: MergerSettings, topology: Topology, partition: int) -> Self:
        """Start two producers, which fence no other."""
        options = client_options(settings, f"planted-{partition}")
        plain = AIOKafkaProducer(**options, enable_idempotence=True, max_batch_size=_BATCH_BYTES)
        committer = AIOKafkaProducer(**options, transactional_id=f"planted-{uuid4()}")
        await plain.start()
        await committer.start()
        writer = cls(plain, topology, partition)
        writer._committer = committer
        return writer

    async def commit(
        self,
        rows: Rows,
        letters: Iterable[Outgoing] = (),
        position: int | None = None,
        mark: LogMark | None = None,  # noqa: ARG002 (the planted merger keeps none)
    ) -> int | None:
        """Send rows and dead letters, and commit the position: in whichever order is wrong."""
        if os.environ.get(VARIANT) == EARLY:
            await self._commit_position(position)
            once.die()
            return await self._send_all(rows, letters)
        once.freeze()
        end = await self._send_all(rows, letters)
        await self._commit_position(position)
        return end

    async def _commit_position(self, position: int | None) -> None:
        if position is not None:
            async with self._committer.transaction():
                offsets = {self._events: position}
                await self._committer.send_offsets_to_transaction(offsets, self._group)

    async def _send_all(self, rows: Rows, letters: Iterable[Outgoing]) -> int | None:
        records = [Outgoing(key, value, timestamp) for key, (value, timestamp) in rows.items()]
        sent = [*await self._send(self._state, records), *await self._send(self._letters, letters)]
        done = await asyncio.gather(*(future for future, _ in sent))
        ends = [
            metadata.offset + count
            for metadata, (_, count) in zip(done, sent, strict=True)
            if metadata.topic == self._state.topic
        ]
        return max(ends, default=None)

    async def close(self) -> None:
        """End both producers."""
        await self._committer.stop()
        await super().close()


if __name__ == "__main__":
    vars(partition)["TransactionWriter"] = PlainWriter
    sys.exit(main())
