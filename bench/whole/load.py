"""Loads the whole stack from a process of its own, and sees when what was acknowledged is visible in SQL.

`python -m bench.whole.load '{"url": …, "clickhouse": …, "seconds": 20, "rate": 10000}'`; see `Plan`.
Some bodies carry one event more for each partition.  A body counts as visible once the rows of all of
these are: everything before them in their partitions is visible by then.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import uvloop
from clickhouse_connect.driver.asyncclient import AsyncClient

from bench.whole.bodies import EVENTS, cycle, probe_lines, probes
from schemas.tables import FEEDBACK_STATE
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings

CONNECTIONS = 4
PROBE_SECONDS = 0.2
"""A body with probes goes out so often."""
LOOK_SECONDS, LOOK_SHARE = 0.25, 0.2
"""Between two looks for probes, in seconds and as a share of the oldest one's age, whichever is longer: what
freshness is rounded up by, at most.  A look costs ClickHouse as much as some hundred rows."""
LOOK_AT_ONCE = 8
"""Probes to look for once the oldest is found: each costs ClickHouse some thousand rows a part."""
READ_SECONDS = 5.0
IDLE_SECONDS = 2.0
"""A connection that was not used for longer is reopened: ingest closes those that are idle for 5."""
_LOOK = (
    f"SELECT DISTINCT request_id FROM {FEEDBACK_STATE}"
    " WHERE tenant = 'default' AND request_id IN {names:Array(String)}"
)


@dataclass(frozen=True)
class Plan:
    """What to send.  With a `rate`, so many events a second; else as many as become visible."""

    url: str
    clickhouse: str
    database: str = "afterword"
    partitions: int = 4
    seconds: float = 20.0
    rate: float = 0.0
    window: float = 10.0
    """Without a rate: seconds that the oldest body may be invisible before sending waits."""
    seed: int = 1
    query: str = ""
    """Where people read meanwhile, now and then; empty: nobody does."""


class Probed(NamedTuple):
    """A body that was seen to be visible."""

    body: int
    """How many were sent before it."""
    acknowledged: float
    visible: float


@dataclass
class Seen:
    """What became of a load; times are seconds since its begin."""

    acknowledged: list[float] = field(default_factory=list)
    """When each body was."""
    probed: list[Probed] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    late: float = 0.0
    """Seconds behind the rate at worst."""
    cpu: float = 0.0
    """Processor seconds of the load itself."""


@dataclass
class _Probe:
    names: set[str]
    body: int
    sent: float
    acknowledged: float | None = None


class Load:
    """Sends bodies over a few connections, and looks for probes beside them."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self.seen = plan, Seen()
        self._bodies = iter(cycle(seed=plan.seed))
        self._probes: list[_Probe] = []
        self._sent = 0
        self._began = self._last_probe = 0.0

    def _now(self) -> float:
        return time.monotonic() - self._began

    async def run(self) -> Seen:
        """Send until the time is over, then wait for the last probes."""
        settings = ClickHouseSettings(
            clickhouse_url=self._plan.clickhouse, clickhouse_database=self._plan.database
        )
        client = await connect(settings)
        self._began = time.monotonic()
        cpu = time.process_time()
        beside = asyncio.gather(self._look(client), self._read())
        await asyncio.gather(*(self._connection() for _ in range(CONNECTIONS)))
        await beside
        self.seen.cpu = time.process_time() - cpu
        await client.close()
        return self.seen

    async def _connection(self) -> None:
        target = urlsplit(self._plan.url)
        head = f"POST /v1/events HTTP/1.1\r\nhost: {target.netloc}\r\n".encode()
        head += b"content-type: application/x-ndjson\r\ncontent-length: %d\r\n\r\n"
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        used = self._now()
        while await self._turn():
            if self._now() - used > IDLE_SECONDS:
                writer.close()
                reader, writer = await asyncio.open_connection(target.hostname, target.port)
            body, probe = self._next()
            writer.write(head % len(body) + body)
            self._note(*await _answer(reader), probe)
            used = self._now()
        writer.close()

    async def _turn(self) -> bool:
        """Wait until a body may be sent; False when the time is over."""
        while (now := self._now()) < self._plan.seconds:
            wait = self._wait(now)
            if wait <= 0:
                return True
            await asyncio.sleep(wait)
        return False

    def _wait(self, now: float) -> float:
        if self._plan.rate:
            due = self._sent * EVENTS / self._plan.rate
            self.seen.late = max(self.seen.late, now - due)
            return due - now
        return 0.01 if self._age(now) > self._plan.window else 0

    def _age(self, now: float) -> float:
        """Return how long ago the oldest probe that is not visible went out; 0 without one."""
        return now - self._probes[0].sent if self._probes else 0.0

    def _next(self) -> tuple[bytes, _Probe | None]:
        body, self._sent = next(self._bodies), self._sent + 1
        if self._now() - self._last_probe < PROBE_SECONDS:
            return body, None
        names = probes(self._plan.seed * 1_000_000 + self._sent, self._plan.partitions)
        self._last_probe = self._now()
        probe = _Probe({name.decode() for name in names.values()}, self._sent - 1, self._last_probe)
        self._probes.append(probe)
        return body + probe_lines(names), probe

    def _note(self, answer: bytes, said: bytes, probe: _Probe | None) -> None:
        expected = EVENTS if probe is None else EVENTS + self._plan.partitions
        now = self._now()
        if probe is not None:
            probe.acknowledged = now
        if b'"accepted":%d,"rejected":0' % expected in said[:60]:
            self.seen.acknowledged.append(now)
        else:
            self.seen.failed.append((answer[:40] + said[:200]).decode(errors="replace"))

    async def _look(self, client: AsyncClient) -> None:
        many = 1
        while self._probes or self._now() < self._plan.seconds:
            if many == 1:
                await asyncio.sleep(max(LOOK_SECONDS, LOOK_SHARE * self._age(self._now())))
            before, names = len(self.seen.probed), self._sought(many)
            if names:
                answer = await client.query(_LOOK, {"names": names})
                self._take({name for (name,) in answer.result_rows})
            many = LOOK_AT_ONCE if len(self.seen.probed) > before else 1

    def _sought(self, many: int) -> list[str]:
        """Return the names of the oldest probes."""
        return [name for probe in self._probes[:many] for name in probe.names]

    async def _read(self) -> None:
        """Read as people do who look at what comes in: a page, and a request of it."""
        if not self._plan.query:
            return
        async with httpx.AsyncClient(base_url=self._plan.query, timeout=60) as client:
            while self._now() < self._plan.seconds:
                await asyncio.sleep(READ_SECONDS)
                page = await client.get("/v1/feedback", params={"limit": 20})
                for row in page.raise_for_status().json()["items"][:1]:
                    (await client.get(f"/v1/feedback/{row['request_id']}")).raise_for_status()

    def _take(self, found: set[str]) -> None:
        now, left = self._now(), []
        for probe in self._probes:
            probe.names -= found
            if probe.names or probe.acknowledged is None:
                left.append(probe)
            else:
                self.seen.probed.append(Probed(probe.body, probe.acknowledged, now))
        self._probes = left


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the head and the body of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(length)


def main() -> None:
    """Read the plan, send, print what was seen."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(Load(Plan(**json.loads(sys.argv[1]))).run())
    sys.stdout.write(json.dumps(asdict(seen)))


if __name__ == "__main__":
    main()
