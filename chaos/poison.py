"""Records that ingest would never write, put into the log of events past it."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from chaos.ledger import Poison
from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.identity import event_key
from schemas.topics import Topology
from services.local.core.kafka_config import PARTITIONS
from services.runtime.kafka.clients import client_options
from services.runtime.settings import KafkaSettings
from tests.support.eventually import eventually
from tests.support.kafka.foreign_headers import write_foreign

_WRITTEN_WITHIN = 60.0
_ANSWERS_WITHIN = 400.0


class Bad(NamedTuple):
    """A record that the merger must dead-letter.  `name` is that of a header which is not UTF-8."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    name: bytes | None = None


def _event(request_id: str) -> bytes:
    event = {
        "event_id": "0199d8a0-0000-7000-8000-000000000000",
        "tenant": "default",
        "request_id": request_id,
        "received_at": "2026-11-22T08:00:00.000001Z",
        "source": "native",
        "op": "merge",
        "data": {"rating": "poison"},
    }
    return json.dumps(event).encode()


def _id(random: Random) -> str:
    return f"poison-{random.randrange(2**32)}"


def _not_json(random: Random) -> Bad:
    return Bad(event_key("default", _id(random)), b"\x00\xff not JSON %d" % random.randrange(2**32))


def _no_event(random: Random) -> Bad:
    return Bad(event_key("default", _id(random)), b'{"no": "event", "n": %d}' % random.randrange(2**32))


def _wrong_key(random: Random) -> Bad:
    return Bad(event_key("default", _id(random)), _event(_id(random)))


def _hot_key(random: Random) -> Bad:
    """Return an event of another request under the key of one that is written to all the time."""
    return Bad(event_key("default", f"hot-{random.randrange(24)}"), _event(_id(random)))


def _no_key(random: Random) -> Bad:
    return Bad(None, _event(_id(random)))


def _null(random: Random) -> Bad:
    return Bad(event_key("default", _id(random)), None)


def _bad_header(random: Random) -> Bad:
    name = _id(random)
    return Bad(event_key("default", name), _event(name), [(REPLAY_VERSION_HEADER, b"soon")])


def _later_version(random: Random) -> Bad:
    name = _id(random)
    return Bad(event_key("default", name), _event(name), [(REPLAY_VERSION_HEADER, b"%d" % 2**47)])


def _foreign_header(random: Random) -> Bad:
    name = _id(random)
    return Bad(event_key("default", name), _event(name), name=b"na\xffme")


BAD: Mapping[str, Callable[[Random], Bad]] = {
    "not JSON": _not_json,
    "no event": _no_event,
    "wrong key": _wrong_key,
    "hot key": _hot_key,
    "no key": _no_key,
    "null value": _null,
    "bad header": _bad_header,
    "later version": _later_version,
    "foreign header": _foreign_header,
}


async def poison(kafka: KafkaSettings, ledger: Poison, random: Random, count: int = 6) -> str:
    """Write bad records into the log; return which."""
    chosen = random.sample(sorted(BAD), count)
    await eventually(lambda: _answers(kafka), within=_ANSWERS_WITHIN, every=0.5)
    for name in chosen:
        bad, partition = BAD[name](random), random.randrange(PARTITIONS)
        topic = Topology().events.name
        offset = await _offset(kafka, bad, topic, partition)
        ledger.write(topic, partition, offset, bad.key, bad.value)
    return ", ".join(chosen)


async def _answers(kafka: KafkaSettings) -> bool:
    """Return whether Kafka can be written to, or is away because of another fault."""
    producer = AIOKafkaProducer(**client_options(kafka, "chaos"))
    try:
        async with asyncio.timeout(10):
            await producer.start()
    except (KafkaError, OSError, TimeoutError):
        return False
    else:
        return True
    finally:
        await producer.stop()


async def _offset(kafka: KafkaSettings, bad: Bad, topic: str, partition: int) -> int | None:
    """Write a record once; return its position, None if unknown."""
    try:
        async with asyncio.timeout(_WRITTEN_WITHIN):
            if bad.name is not None:
                await write_foreign(kafka, topic, partition, [(bad.key or b"", bad.value or b"", bad.name)])
                return None
            return await write(kafka, topic, partition, bad)
    except (KafkaError, OSError, TimeoutError):
        return None


async def write(kafka: KafkaSettings, topic: str, partition: int, bad: Bad) -> int:
    """Write a record and return its offset; errors of Kafka's as they are."""
    producer = AIOKafkaProducer(
        **client_options(kafka, "chaos"), enable_idempotence=True, max_request_size=16 << 20
    )
    await producer.start()
    try:
        sent = await producer.send_and_wait(
            topic, bad.value, bad.key, partition=partition, headers=list(bad.headers)
        )
        return int(sent.offset)
    finally:
        await asyncio.wait_for(producer.stop(), 10)


async def write_too_large(kafka: KafkaSettings, random: Random) -> None:
    """Try to write a record that Kafka must refuse, being larger than its topic takes."""
    key = event_key("default", _id(random))
    try:
        async with asyncio.timeout(_WRITTEN_WITHIN):
            await write(kafka, Topology().events.name, 0, Bad(key, b" " * (3 << 20)))
    except MessageSizeTooLargeError:
        return
    except (KafkaError, OSError, TimeoutError):
        return  # Kafka is away because of another fault, and has refused it all the same
    raise AssertionError("Kafka took a record that is larger than its topic takes")
