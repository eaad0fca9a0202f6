"""Events put into the log as ingest does, and the ledger of a writer who was told where they are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from schemas.identity import event_key, partition_of, version_of
from schemas.topics import Topology
from services.runtime.settings import KafkaSettings
from tests.support.merger.state_log import producer

_PARTITIONS = 4


async def promise(settings: KafkaSettings, directory: Path, events: Sequence[dict[str, Any]]) -> None:
    """Append events (`request_id`, `data`) and write a line for each acknowledgement."""
    topology = Topology(settings.kafka_topic_generation)
    bodies = [_body(event) for event in events]
    async with producer(settings, topology.events) as client:
        sent = []
        for body in bodies:
            key = event_key(body["tenant"], body["request_id"])
            partition = partition_of(key, _PARTITIONS)
            value = json.dumps(body).encode()
            sent.append(await client.send(topology.events.name, value, key, partition=partition))
        placed = [await one for one in sent]
    versions = [str(version_of(topology.generation, place.offset)) for place in placed]
    _note(directory, [body | {"version": version} for body, version in zip(bodies, versions, strict=True)])


def _note(directory: Path, lines: Sequence[dict[str, Any]]) -> None:
    directory.mkdir(exist_ok=True)
    with (directory / "promised.ndjson").open("a") as file:
        file.writelines(json.dumps(line | {"outcome": "acknowledged"}) + "\n" for line in lines)


def _body(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": str(uuid4()),
        "tenant": "default",
        "received_at": "2026-11-22T08:00:00.000001Z",
        "source": "native",
        "op": "merge",
        **event,
    }
