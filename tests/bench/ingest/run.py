"""Ingest against its textbook twin, on one Kafka, in turns: `python -m tests.bench.ingest.run`.

Needs `wrk` on PATH.  Read the ratio: wrk, the broker and the server share the machine's cores, so the
rates themselves are lower than either server could do.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from schemas.topics import Topology
from services.commands.keys import create_key
from services.local.ports import free_port
from tests.support.eventually import eventually
from tests.support.servers import OwnKafka
from tests.support.topics import create_topics

SECONDS, ROUNDS, CONNECTIONS = 4, 3, (64, 256)
HERE = Path(__file__).parent
UVICORN = ("--no-access-log", "--loop", "uvloop", "--http", "httptools", "--log-level", "warning")


@contextmanager
def server(environment: dict[str, str], *arguments: str) -> Iterator[None]:
    """Run a server until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], env={**os.environ, **environment})
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def wrk(port: int, connections: int, key: str) -> tuple[float, float, float]:
    """Return requests per second, and the latencies p50 and p99 in milliseconds."""
    options = ("-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(HERE / "post.lua"))
    command = ("wrk", *options, f"http://127.0.0.1:{port}", "--", key)
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate, p50, p99, failed = output.partition("RESULT ")[2].split()
    if int(failed):
        raise SystemExit(f"{failed} requests failed:\n{output}")
    return float(rate), float(p50), float(p99)


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
    ports = {"textbook": free_port(), "ingest": free_port()}
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": brokers,
        "BENCH_KEY": key,
        "AFTERWORD_HOME": str(home),
        "INGEST_PORT": str(ports["ingest"]),
        "LOG_LEVEL": "warning",
    }
    textbook = ("uvicorn", "tests.bench.ingest.textbook:app", "--port", str(ports["textbook"]), *UVICORN)
    with server(environment, *textbook), server(environment, "services.ingest"):
        await eventually(lambda: answers(ports["textbook"], "/openapi.json"), within=60)
        await eventually(lambda: answers(ports["ingest"], "/readyz"), within=60)
        for connections in CONNECTIONS:
            report(connections, ports, key)


def report(connections: int, ports: dict[str, int], key: str) -> None:
    """Print a line for each server."""
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ports}
    for _ in range(ROUNDS):
        for name, port in ports.items():
            results[name].append(wrk(port, connections, key))
    textbook = median(rate for rate, _, _ in results["textbook"])
    for name, rounds in results.items():
        rates, p50s, p99s = zip(*rounds, strict=True)
        print(  # noqa: T201
            f"{connections:4} connections  {name:9} {median(rates):8,.0f} req/s ({min(rates):,.0f} to"
            f" {max(rates):,.0f})  x{median(rates) / textbook:.2f}  p50 {median(p50s):.1f} ms"
            f"  p99 {median(p99s):.1f} ms"
        )


if __name__ == "__main__":
    asyncio.run(main())
