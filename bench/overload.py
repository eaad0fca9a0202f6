"""Ten times what ingest can take, for as long as you like: `python -m bench.overload --seconds 60`.

It starts a Kafka and an ingest of its own, with a slow line between them: what the log takes is the capacity,
so that ten times as much can be offered by the same machine.  First a few connections of one process measure
what is taken; then forty times as many connections, from several processes and of two tenants, do not wait
when they are refused.  It prints how much was offered, taken and refused, how long refusals and probes took,
the most memory, and how long it was until an event was taken once the load had ended; and it looks whether
every promise was kept.
"""

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import httpx
import psutil

from chaos.proxy import Proxy
from schemas.topics import Topology
from services.local import broker
from services.local.jars import fetch, kafka_jars
from services.local.ports import free_port
from services.local.processes import Command
from tests.support.eventually import eventually
from tests.support.http import flood
from tests.support.ingest.app import new_key
from tests.support.kafka.topic_reader import read_topic
from tests.support.kafka.topics import create_topics
from tests.support.stack.local_servers import OwnKafka

FEW, TIMES, PROCESSES, SIZE = 8, 10, 4, 10_000
PIECE_SECONDS = 0.15
"""How long the line holds every piece of up to 64 KiB, one after the other, in both directions."""


class FarKafka(OwnKafka):
    """A Kafka that its clients find at another port."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.line = Proxy(free_port(), self.port)

    def _command(self) -> Command:
        jars = fetch(kafka_jars(), self.directory / "jars")
        return broker.prepare(self.directory, jars, self.port, self.line.port)


def told(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


class Watch:
    """Asks probes while the load lasts, and looks at the memory."""

    def __init__(self, url: str, process: psutil.Process) -> None:
        self.took: list[float] = []
        self.failed = 0
        self.most = 0
        self._url, self._process = url, process

    async def run(self) -> None:
        """Ask for as long as it is not cancelled."""
        async with httpx.AsyncClient(timeout=30) as client:
            while True:
                began = time.monotonic()
                try:
                    for path in ("/livez", "/metrics"):
                        (await client.get(self._url + path)).raise_for_status()
                except httpx.HTTPError:
                    self.failed += 1
                self.took.append(time.monotonic() - began)
                self.most = max(self.most, self._process.memory_info().rss)
                await asyncio.sleep(0.1)


async def flooded(
    url: str, seconds: float, connections: int, keys: list[str], home: Path
) -> list[flood.Sent]:
    """Send from several processes until the time is over, and return what became of it."""
    processes = min(PROCESSES, max(1, connections // FEW))
    outs = [home / f"{connections}-{number}" for number in range(processes)]
    loads = [
        flood.start(flood.Load(url, seconds, connections // processes, out.name, out, SIZE, keys))
        for out in outs
    ]
    await asyncio.gather(*(asyncio.to_thread(load.wait) for load in loads))
    return [one for out in outs for one in flood.read(out)]


def report(name: str, sent: list[flood.Sent], seconds: float) -> None:
    """Print what became of a load."""
    taken = [one.milliseconds for one in sent if one.status == 202]
    refused = [one.milliseconds for one in sent if one.status in (429, 503)]
    lost = len(sent) - len(taken) - len(refused)
    offered = f" ({len(sent) / len(taken):.1f} times what was taken)" if taken else ""
    line = f"{name}: {len(sent) / seconds:,.0f}/s offered{offered}, {len(taken) / seconds:,.0f}/s taken"
    told(f"{line}, {len(refused) / seconds:,.0f}/s refused, {lost} without an answer")
    for what, times in (("taken", taken), ("refused", refused)):
        if len(times) > 1:
            told(f"  {what}: p50 {median(times):.1f} ms, p99 {quantiles(times, n=100)[98]:.1f} ms")


async def main(seconds: float) -> int:
    """Print a report; 1 if a promise was broken."""
    with TemporaryDirectory() as directory:
        home = Path(directory)
        kafka = FarKafka(home / "kafka")
        async with kafka.line:
            await kafka.start()
            try:
                await create_topics(kafka.settings, Topology())
                return await measured(kafka, home, seconds)
            finally:
                await kafka.kill()


async def measured(kafka: FarKafka, home: Path, seconds: float) -> int:
    """Run ingest, and load it."""
    keys = [new_key(home, tenant=tenant) for tenant in ("greedy", "small")]
    port = free_port()
    own = {
        "AFTERWORD_HOME": str(home),
        "INGEST_PORT": str(port),
        "INGEST_LOOKUP": "false",
        "INGEST_MAX_INFLIGHT_BYTES": str(1 << 20),
        "LOG_LEVEL": "error",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.settings.kafka_bootstrap_servers,
    }
    process = psutil.Popen([sys.executable, "-m", "services.ingest"], env={**os.environ, **own})
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, headers={"x-api-key": keys[1]}, timeout=30) as client:
            await eventually(lambda: _is_ready(client), within=90)
            kafka.line.delay = PIECE_SECONDS
            few = await flooded(url, seconds / 4, FEW, keys[:1], home)
            report(f"{FEW} connections", few, seconds / 4)
            watch = Watch(url, process)
            watching = asyncio.create_task(watch.run())
            crowd = await flooded(url, seconds, FEW * TIMES * PROCESSES, keys[:1] * 9 + keys[1:], home)
            ended = time.monotonic()
            await eventually(lambda: _takes(client), within=60, every=0.01)
            recovered = time.monotonic() - ended
            watching.cancel()
            kafka.line.delay = 0.0
    finally:
        process.kill()
        process.wait()
    report(f"{FEW * TIMES * PROCESSES} connections", crowd, seconds)
    told(f"  probes: {len(watch.took)} asked, {watch.failed} failed, slowest {max(watch.took) * 1e3:.0f} ms")
    told(f"  memory: {watch.most >> 20} MiB at most; recovered in {recovered * 1e3:.0f} ms")
    return await kept(kafka, [*few, *crowd])


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def _takes(client: httpx.AsyncClient) -> bool:
    return (await client.post("/feedback/after", json={"data": {}})).status_code == 202


async def kept(kafka: FarKafka, sent: list[flood.Sent]) -> int:
    """Hold what was answered against the log; 1 if something differs."""
    partitions = await read_topic(kafka.settings, Topology().events.name)
    log = Counter(record.key.decode().partition("/")[2] for part in partitions for record in part)
    lost = sum(one.status == 202 and log[one.request_id] != 1 for one in sent)
    written = sum(one.code == "overloaded" and one.request_id in log for one in sent)
    unfair = sum(one.status in (429, 503) and not one.again for one in sent)
    told(f"lost {lost}, refused and written {written}, refused without Retry-After {unfair}")
    return int(bool(lost or written or unfair))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    sys.exit(asyncio.run(main(parser.parse_args().seconds)))
