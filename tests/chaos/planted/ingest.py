"""An ingest that answers success before Kafka has acknowledged anything."""

import sys
from typing import Any

from aiokafka import AIOKafkaProducer

from services.ingest import connection
from services.ingest.__main__ import main


def careless(**options: Any) -> AIOKafkaProducer:
    """Return a producer that waits for no acknowledgement."""
    return AIOKafkaProducer(**{**options, "acks": 0, "enable_idempotence": False})


if __name__ == "__main__":
    vars(connection)["AIOKafkaProducer"] = careless
    sys.exit(main())
