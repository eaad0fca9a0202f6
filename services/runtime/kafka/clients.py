"""Makes every client of Kafka, with options that fit the topics' sizes and with fixes for aiokafka.

`repair` fixes three things of aiokafka 0.14, each described at its function with its upstream issue where
there is one; it can go once they are fixed there.  A client that is made elsewhere lacks them, which a
contract test checks.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaConnectionError

from schemas.topics import Topic
from services.runtime.kafka.compression import compress_quickly
from services.runtime.kafka.lenient_decoding import tolerate
from services.runtime.kafka.raw_fetch import WholeConsumer
from services.runtime.settings import KafkaSettings

REQUEST_TIMEOUT_MS = 20_000
RETRY_BACKOFF_MS = 100
METADATA_PAUSE_SECONDS = 0.1
KNOWN_SECONDS = 3.0
"""How long the brokers that a client knows may take before KAFKA_BOOTSTRAP_SERVERS are asked, too."""
BOOTSTRAP_PAUSE_SECONDS = 1.0
"""Between two times that a client asks them."""
BOOTSTRAP_TIMEOUT_MS = 5_000
"""How long each of them may take: of a server that is gone, its address may still swallow packets."""
LAST_MOMENT_SECONDS = 1.0
"""How long a cancelled `connect` waits for the client's start to end."""

FETCH_MIN_BYTES = 128 << 10
FETCH_WAIT_MS = 200
"""Kafka answers a fetch of merger and sink once it has this much, or after this time.  Answering each batch
of ingest, and each transaction of the merger, by itself is most of what reading costs on both sides; and the
merger would spend itself on small transactions, whose cost hardly depends on what is in them."""

RECORD_OVERHEAD_BYTES = 64 << 10
"""Room for a batch's header, a record's key and its headers beside the largest value."""


T = TypeVar("T")

_UNCUT = set[asyncio.Task[Any]]()
"""Tasks that outlive their callers; the event loop alone keeps no reference to them."""


class StartableClient(Protocol):
    """A client of Kafka."""

    async def start(self) -> None:
        """Connect."""


async def connect(client: StartableClient) -> None:
    """Start a client, which has to be stopped even if this fails.

    A cancelled call waits a moment: aiokafka forgets its bootstrap connection, which would never be closed.
    """
    starting = asyncio.create_task(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({starting}, timeout=LAST_MOMENT_SECONDS)
        finally:
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


async def uncut(work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns.  Cancelling this does not cancel the work, which ends by itself.

    aiokafka forgets a connection that is cancelled while it is being made, which would never be closed.
    """
    return await asyncio.shield(_kept(asyncio.create_task(work)))


def _kept(task: asyncio.Task[T]) -> asyncio.Task[T]:
    _UNCUT.add(task)
    task.add_done_callback(_UNCUT.discard)
    return task


def client_options(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """Return what every aiokafka client of ours is made with."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "retry_backoff_ms": RETRY_BACKOFF_MS,
    }


def consumer_options(settings: KafkaSettings, client_id: str, topics: Iterable[Topic]) -> dict[str, Any]:
    """Return the options of a consumer that can fetch the largest record of these topics.

    It sees only committed records, and its offsets are committed by the caller, once the result is stored.
    """
    return {
        **client_options(settings, client_id),
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": max(topic.max_message_bytes for topic in topics) + RECORD_OVERHEAD_BYTES,
    }


def producer(settings: KafkaSettings, client_id: str, **options: Any) -> AIOKafkaProducer:
    """Return a producer that is not started yet; its lz4 is the quick one."""
    compress_quickly()
    made = AIOKafkaProducer(**client_options(settings, client_id) | options)
    repair(made.client)
    return made


def consumer(settings: KafkaSettings, client_id: str, **options: Any) -> AIOKafkaConsumer:
    """Return a consumer that is not started yet, for positions; it commits only when it is asked to."""
    made = AIOKafkaConsumer(**client_options(settings, client_id) | {"enable_auto_commit": False} | options)
    repair(made._client)  # noqa: SLF001 (a consumer's client has no public name)
    return made


def reader(
    settings: KafkaSettings, client_id: str, topics: Iterable[Topic], *, whole: bool = False, **options: Any
) -> AIOKafkaConsumer:
    """Return a consumer of `consumer_options` that is not started yet; it reads names that are not UTF-8.

    A `whole` one hands on what it fetched undecoded: see `WholeConsumer`.
    """
    tolerate()
    kind = WholeConsumer if whole else AIOKafkaConsumer
    made = kind(**consumer_options(settings, client_id, topics) | options)
    repair(made._client)  # noqa: SLF001 (a consumer's client has no public name)
    return made


def admin_client(settings: KafkaSettings, client_id: str) -> AIOKafkaAdminClient:
    """Return an admin client that is not started yet."""
    made = AIOKafkaAdminClient(**client_options(settings, client_id))
    repair(made._client)  # noqa: SLF001 (an admin client's client has no public name)
    return made


def plain_client(settings: KafkaSettings, client_id: str, **options: Any) -> AIOKafkaClient:
    """Return a client before its bootstrap, for requests that none of the others sends."""
    made = AIOKafkaClient(**client_options(settings, client_id) | options)
    repair(made)
    return made


def repair(client: AIOKafkaClient) -> None:
    """Add to a client that was just made what aiokafka lacks; a contract test pins its private names."""
    _bootstrap_again(client)
    _pause_updates(client)
    _count_losses(client)


def _count_losses(client: AIOKafkaClient) -> None:
    """Count in `losses` how many connections have broken: behind each, the log may be another one."""
    closed = client._on_connection_closed  # noqa: SLF001
    client.losses = 0

    def count(connection: Any, reason: CloseReason) -> None:
        if reason not in (CloseReason.IDLE_DROP, CloseReason.SHUTDOWN):
            client.losses += 1
        closed(connection, reason)

    client._on_connection_closed = count  # noqa: SLF001


def _pause_updates(client: AIOKafkaClient) -> None:
    """Pause between forced metadata updates, and let none of them outlive the client.

    While a partition has no leader, aiokafka's sender asks for metadata in a loop without a pause:
    a whole core, and thousands of log lines a second.
    """
    update, close = client.force_metadata_update, client.close
    waiting: set[asyncio.Task[Any]] = set()

    async def later() -> Any:
        await asyncio.sleep(METADATA_PAUSE_SECONDS)
        return await update()

    def begin() -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(later())
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        return task

    async def close_all() -> None:
        for task in [*waiting]:
            task.cancel()
        await close()

    client.force_metadata_update, client.close = begin, close_all


def _bootstrap_again(client: AIOKafkaClient) -> None:
    """Ask KAFKA_BOOTSTRAP_SERVERS for the brokers once those that the client knows do not answer.

    aiokafka asks them at its start alone, so it never finds a cluster whose brokers have all moved:
    https://github.com/aio-libs/aiokafka/issues/456 and issues/459.  Either may be out of date, so that both
    are asked.
    """
    update = client._metadata_update  # noqa: SLF001
    clock = asyncio.get_running_loop().time
    again_at = 0.0

    async def update_from_any(cluster: Any, topics: Any) -> bool:
        nonlocal again_at
        known = _kept(asyncio.create_task(update(cluster, topics)))
        try:
            await asyncio.wait({known}, timeout=KNOWN_SECONDS)
            if known.done() and known.result():
                _forget_moved(client)
                return True
            if clock() >= again_at:
                again_at = clock() + BOOTSTRAP_PAUSE_SECONDS
                if await uncut(_updated_afresh(client, cluster, topics)):
                    _forget_moved(client)
                    return True  # the other attempt ends by itself
            return bool(await known)
        except asyncio.CancelledError:
            known.cancel()
            await asyncio.wait({known})
            raise

    client._metadata_update = update_from_any  # noqa: SLF001


async def _updated_afresh(client: AIOKafkaClient, cluster: Any, topics: Any) -> bool:
    """Update what a client knows of the cluster through one that is made for this alone."""
    afresh = AIOKafkaClient(
        bootstrap_servers=client._bootstrap_servers,  # noqa: SLF001
        client_id=client._client_id,  # noqa: SLF001
        request_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
    )
    try:
        await afresh.bootstrap()
        return bool(await afresh._metadata_update(cluster, topics))  # noqa: SLF001
    except KafkaConnectionError:
        return False
    finally:
        await afresh.close()


def _forget_moved(client: AIOKafkaClient) -> None:
    """Close connections to a broker's earlier address: what waits for an answer there is sent again."""
    for (node, _), connection in [*client._conns.items()]:  # noqa: SLF001
        broker = client.cluster.broker_metadata(node)
        if broker is not None and (connection.host, connection.port) != (broker.host, broker.port):
            connection.close(reason=CloseReason.OUT_OF_SYNC)
