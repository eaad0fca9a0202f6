"""Sends batches to several ingests, from a process of its own: `python -m bench.scale.load '{…}'`.

Its argument is a `Plan`.  It says `ready`, waits for a line, sends over the same number of connections
whatever the number of ingests, and prints how many events were accepted in how many seconds.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvloop

from bench.whole.bodies import EVENTS, cycle

CONNECTIONS = 4
_MANY = 1 << 20


@dataclass(frozen=True)
class Plan:
    """What to send where.  Sending ends after `bodies` or `seconds`."""

    ports: list[int]
    bodies: int = _MANY
    seconds: float = 600.0
    seed: int = 1


class RefusedError(Exception):
    """Raised when ingest does not take a body whole: what is left would be another load."""


async def send(port: int, bodies: Iterator[bytes], until: float) -> int:
    """Send over one connection as fast as each is acknowledged; how many there were."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_MANY)
    head = f"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n".encode()
    head += b"content-type: application/x-ndjson\r\ncontent-length: %d\r\n\r\n"
    count = 0
    for body in bodies:
        writer.write(head % len(body) + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        said = await reader.readexactly(length)
        if b'"accepted":%d,"rejected":0' % EVENTS not in said[:60]:
            raise RefusedError((answer[:40] + said[:200]).decode(errors="replace"))
        count += 1
        if time.monotonic() >= until:
            break
    writer.close()
    return count


async def run(plan: Plan) -> dict[str, float]:
    """Send to all, body by body to whoever is free; what was sent, and how long it took."""
    made = iter(cycle(seed=plan.seed))
    shared = (next(made) for _ in range(plan.bodies))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    began = time.monotonic()
    ports = [plan.ports[number % len(plan.ports)] for number in range(CONNECTIONS)]
    counts = await asyncio.gather(*(send(port, shared, began + plan.seconds) for port in ports))
    return {"events": sum(counts) * EVENTS, "seconds": time.monotonic() - began}


def main() -> None:
    """Read the plan, send, print what was sent."""
    plan = Plan(**json.loads(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(json.dumps(runner.run(run(plan))))


if __name__ == "__main__":
    main()
