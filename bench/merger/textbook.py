"""The merge as a tutorial on Faust has it: an agent, a table, and a topic for what becomes of them.

What the merger is compared with.  It runs as `python -m bench.merger.textbook worker`; every setting
that is not named here is Faust's default, the table's store in memory among them, which is its fastest.
A state has `"key": [value, timestamp, offset]` of the latest event with that key.
"""

import os
from typing import Any

import faust

app = faust.App(
    os.environ["APPLICATION"],
    broker=f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}",
    datadir=os.environ["STATE_DIRECTORY"],
    topic_partitions=int(os.environ["PARTITIONS"]),
    topic_replication_factor=1,
)
events = app.topic(os.environ["EVENTS"], key_type=bytes, value_serializer="json")
merged = app.topic(os.environ["STATE"], key_type=bytes, value_serializer="json")
states = app.Table("states", default=dict)


@app.agent(events)
async def merge(stream: Any) -> None:
    """Merge each event into the state of its key, and send that on."""
    async for event in stream.events():
        key = event.key.decode()
        version = [int(event.message.timestamp * 1000), event.message.offset]
        state = states[key]
        for field, value in event.value["data"].items():
            if field not in state or version > state[field][1:]:
                state[field] = [value, *version]
        states[key] = state
        await merged.send(key=event.key, value=state)


if __name__ == "__main__":
    app.main()
