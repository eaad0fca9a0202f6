"""A sink as a tutorial has it: each record of the topic is decoded, inserted and committed.

What the real service is compared with.  It checks nothing and gives nothing up, and its offset is committed
after each row, so that no row is lost.
"""

import asyncio
import json
import os
import sys

import clickhouse_connect
from aiokafka import AIOKafkaConsumer

COLUMNS = ("revision", "tenant", "request_id", "version", "first_received_at", "last_received_at", "sources")
JSON_COLUMNS = ("data", "request")


async def main(topic: str) -> None:
    """Store what arrives until the process ends."""
    client = await clickhouse_connect.get_async_client(
        dsn=os.environ["CLICKHOUSE_URL"], database=os.environ["CLICKHOUSE_DATABASE"]
    )
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group_id="textbook",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        async for record in consumer:
            row = json.loads(record.value)
            row["revision"] = record.offset
            for name in JSON_COLUMNS:
                row[name] = json.dumps(row[name])
            line = json.dumps({name: row[name] for name in (*COLUMNS, *JSON_COLUMNS)})
            await client.raw_insert("feedback_state", None, line, fmt="JSONEachRow")
            await consumer.commit()
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
