"""Ingest against its textbook twin, on one Kafka, in turns: `python -m tests.bench.ingest.run`.

Needs `wrk` on PATH.  Read the ratios: wrk, the broker and the server share the machine's cores, so the
rates themselves are lower than either server could do.  The processor time that the server itself spends
on a request says most where the machine has other work too.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from schemas.topics import Topology
from services.commands.keys import create_key
from services.local.ports import free_port
from tests.support.eventually import eventually
from tests.support.servers import OwnKafka
from tests.support.topics import create_topics

SECONDS, ROUNDS, CONNECTIONS = 4, 3, (64, 256)
HERE = Path(__file__).parent
UVICORN = ("--no-access-log", "--loop", "uvloop", "--http", "httptools", "--log-level", "warning")


@dataclass(frozen=True)
class Server:
    """A server under load."""

    name: str
    port: int
    process: psutil.Process


class Round(NamedTuple):
    """What one round of load showed: requests per second, milliseconds, microseconds of processor time."""

    rate: float
    p50: float
    p99: float
    cost: float


@contextmanager
def server(name: str, port: int, environment: dict[str, str], *arguments: str) -> Iterator[Server]:
    """Run a server until the block ends."""
    process = psutil.Popen([sys.executable, "-m", *arguments], env={**os.environ, **environment})
    try:
        yield Server(name, port, process)
    finally:
        process.terminate()
        process.wait()


def load(server: Server, connections: int, key: str) -> Round:
    """Load a server for some seconds."""
    before = server.process.cpu_times()
    options = ("-t1", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "30s", "-s", str(HERE / "post.lua"))
    command = ("wrk", *options, f"http://127.0.0.1:{server.port}", "--", key)
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = server.process.cpu_times()
    rate, p50, p99, failed = map(float, output.partition("RESULT ")[2].split())
    if failed:
        raise SystemExit(f"{failed:.0f} requests failed:\n{output}")
    seconds = after.user + after.system - before.user - before.system
    return Round(rate, p50, p99, seconds / (rate * SECONDS) * 1e6)


def answers(port: int, path: str) -> bool:
    """Tell whether a server answers 200."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False


async def main() -> None:
    """Print a table."""
    with TemporaryDirectory() as home:
        kafka = OwnKafka(Path(home) / "kafka")
        await kafka.start()
        try:
            await create_topics(kafka.settings, Topology())
            await compare(kafka.settings.kafka_bootstrap_servers, Path(home))
        finally:
            await kafka.kill()


async def compare(brokers: str, home: Path) -> None:
    """Run both servers side by side, and load one at a time."""
    key = create_key(home / "keys.toml", tenant="default", scopes=("write",), name="bench").key
    ports = free_port(), free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": brokers,
        "BENCH_KEY": key,
        "AFTERWORD_HOME": str(home),
        "INGEST_PORT": str(ports[1]),
        "LOG_LEVEL": "warning",
    }
    tutorial = ("uvicorn", "tests.bench.ingest.textbook:app", "--port", str(ports[0]), *UVICORN)
    with (
        server("textbook", ports[0], environment, *tutorial) as textbook,
        server("ingest", ports[1], environment, "services.ingest") as ingest,
    ):
        await eventually(lambda: answers(textbook.port, "/openapi.json"), within=60)
        await eventually(lambda: answers(ingest.port, "/readyz"), within=60)
        for connections in CONNECTIONS:
            report(connections, (textbook, ingest), key)


def report(connections: int, servers: tuple[Server, ...], key: str) -> None:
    """Load the servers in turns, and print a line for each."""
    rounds: dict[str, list[Round]] = {one.name: [] for one in servers}
    for _ in range(ROUNDS):
        for one in servers:
            rounds[one.name].append(load(one, connections, key))
    first = Round(*map(median, zip(*rounds[servers[0].name], strict=True)))
    for name, results in rounds.items():
        middle = Round(*map(median, zip(*results, strict=True)))
        rates = [result.rate for result in results]
        print(  # noqa: T201
            f"{connections:4} connections  {name:9}{middle.rate:7,.0f} req/s ({min(rates):,.0f} to"
            f" {max(rates):,.0f}) x{middle.rate / first.rate:.2f}   p50 {middle.p50:.1f} ms"
            f"  p99 {middle.p99:.1f} ms   {middle.cost:.0f} us of processor a request,"
            f" x{first.cost / middle.cost:.2f}"
        )


if __name__ == "__main__":
    asyncio.run(main())
