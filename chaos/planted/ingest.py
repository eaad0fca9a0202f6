"""An ingest that answers success before Kafka has acknowledged anything."""

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaProducer

from services.ingest.__main__ import main
from services.ingest.event_log import NO_OFFSET
from services.runtime.kafka import clients


class Careless(AIOKafkaProducer):  # type: ignore[misc]  # it ships no types
    """Reports a batch as logged as soon as it was handed over."""

    async def send_batch(self, *arguments: Any, **options: Any) -> asyncio.Future[Any]:
        """Send, and do not wait."""
        (await super().send_batch(*arguments, **options)).add_done_callback(_forget)
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answered.set_result(SimpleNamespace(offset=NO_OFFSET))
        return answered


def _forget(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()


if __name__ == "__main__":
    vars(clients)["AIOKafkaProducer"] = Careless
    sys.exit(main())
