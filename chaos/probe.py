"""Watches whether events come through: sends one to each partition, and looks for them in SQL."""

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

import httpx

from chaos.ledger import Event, Ledger, Post, send
from chaos.stage import Stage
from schemas.identity import DEFAULT_TENANT, event_key, partition_of
from services.local.core.kafka_config import PARTITIONS

_ROUND_SECONDS = 0.5
_LOOK_SECONDS = 0.2
_WAITING = 4 * 120
"""Probes that are looked for at once: the newest ones of two minutes."""


class Recovery(NamedTuple):
    """Seconds until an event was visible that was sent afterwards: the first, and one of every partition."""

    first: float
    everywhere: float


class Probe:
    """Sends and reads while a caller waits."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._ledger = Ledger(stage.ledgers / "probe.ndjson")
        self._ids = {partition: _ids(partition) for partition in range(PARTITIONS)}
        self._sent: deque[tuple[str, int, float]] = deque(maxlen=_WAITING)
        self._seen: list[tuple[int, float, float]] = []
        self._looked = asyncio.Condition()

    async def run(self) -> None:
        """Send and look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            tasks.create_task(self._look())

    async def recovered(self, since: float, within: float) -> Recovery:
        """Wait until events sent after a moment (of the loop's clock) are visible in every partition.

        TimeoutError if they are not within `within` seconds.
        """
        async with asyncio.timeout(within), self._looked:
            await self._looked.wait_for(lambda: len(self._visible(since)) == PARTITIONS)
        visible = self._visible(since).values()
        return Recovery(min(visible) - since, max(visible) - since)

    def _visible(self, since: float) -> dict[int, float]:
        """Return when each partition showed the first event that was sent after a moment."""
        found: dict[int, float] = {}
        for partition, sent, seen in self._seen:
            if sent >= since:
                found[partition] = min(seen, found.get(partition, seen))
        return found

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        url = self._stage.ingest_url
        async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
            while True:
                await self._stage.flows.wait()
                events = tuple(Event(next(ids), data={"probe": 1}) for ids in self._ids.values())
                body = b"\n".join(
                    json.dumps({"request_id": event.request_id, "data": event.data}).encode()
                    for event in events
                )
                post = Post("POST", "/v1/events", body, "native", events, is_batch=True)
                sent = clock()
                self._sent += [(one.request_id, partition, sent) for partition, one in enumerate(events)]
                await send(client, post, self._ledger)
                await asyncio.sleep(_ROUND_SECONDS)

    async def _look(self) -> None:
        clock, url = asyncio.get_running_loop().time, self._stage.settings.clickhouse_url
        async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
            while True:
                if self._sent:
                    found = await _stored(client, [name for name, *_ in self._sent])
                    now = clock()
                    visible = [one for one in self._sent if one[0] in found]
                    self._seen = [*self._seen, *((partition, sent, now) for _, partition, sent in visible)][
                        -2000:
                    ]
                    for one in visible:
                        self._sent.remove(one)
                    async with self._looked:
                        self._looked.notify_all()
                await asyncio.sleep(_LOOK_SECONDS)


async def _stored(client: httpx.AsyncClient, names: list[str]) -> set[str]:
    """Return which of the requests have a row; none while ClickHouse does not answer."""
    listed = ", ".join(f"'{name}'" for name in names)
    sql = (
        f"SELECT request_id FROM afterword.feedback_state WHERE tenant = '{DEFAULT_TENANT}'"
        f" AND request_id IN ({listed}) FORMAT TSV"
    )
    try:
        answer = await client.post("/", content=sql)
    except httpx.TransportError:
        return set()
    return set(answer.text.split()) if answer.status_code == 200 else set()


def _ids(partition: int) -> Iterator[str]:
    """Yield request ids that live in a partition, for ever, those of each run alike."""
    for number in count():
        if partition_of(event_key(DEFAULT_TENANT, f"probe-{number}"), PARTITIONS) == partition:
            yield f"probe-{number}"


def now() -> datetime:
    """Return the time of day, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 (the rim of the run)
