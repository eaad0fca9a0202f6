"""What writers remember: a line for each event that was sent, on disk before the next request."""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

ACKNOWLEDGED, UNKNOWN, REFUSED = "acknowledged", "unknown", "refused"
POISON, TAKEN = "poison.ndjson", "taken.ndjson"


class Event(NamedTuple):
    """An event as the log is to have it."""

    request_id: str
    op: str = "merge"
    data: dict[str, Any] | None = None
    request: dict[str, Any] | None = None


@dataclass(frozen=True)
class Post:
    """A request with one event, or with a batch."""

    method: str
    path: str
    body: bytes
    source: str
    events: tuple[Event, ...]
    key: str | None = None
    is_batch: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The headers that it is sent with."""
        kind = "application/x-ndjson" if self.is_batch else "application/json"
        return {"Content-Type": kind, **({"Idempotency-Key": self.key} if self.key else {})}


class Outcome(NamedTuple):
    """What became of one event, as far as its writer knows."""

    outcome: str
    event_id: str | None = None
    version: str | None = None
    status: int | None = None


class Ledger:
    """One writer's file.  `outcomes` counts what it wrote."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._count = 0

    def write(self, post: Post, sent_at: datetime, outcomes: list[Outcome]) -> None:
        """Append what became of a request, event by event."""
        lines = [
            self._line(post, index, sent_at, *pair)
            for index, pair in enumerate(zip(post.events, outcomes, strict=True))
        ]
        os.write(self._file, b"".join(lines))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _line(self, post: Post, index: int, sent_at: datetime, event: Event, outcome: Outcome) -> bytes:
        self._count += 1
        line = {
            "n": self._count,
            "tenant": "default",
            **event._asdict(),
            "source": post.source,
            "idempotency_key": post.key,
            "index": index,
            "sent_at": sent_at.isoformat(),
            **outcome._asdict(),
        }
        return json.dumps(line).encode() + b"\n"


def read(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield every line of every writer."""
    for path in sorted(directory.glob("*.ndjson")):
        if path.name not in (POISON, TAKEN):
            with path.open() as file:
                yield from map(json.loads, file)


class Poison:
    """What was written to topics past ingest."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / POISON

    def write(
        self, topic: str, partition: int, offset: int | None, key: bytes | None, value: bytes | None
    ) -> None:
        """Append one record; its offset is None if it is unknown whether it was written."""
        line = {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "key": _text(key),
            "value": _text(value),
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


async def send(client: httpx.AsyncClient, post: Post, ledger: Ledger) -> list[Outcome]:
    """Send a request and write down what became of it; the outcome of each of its events."""
    sent_at = datetime.now(UTC)  # noqa: TID251 (the rim of a writer)
    outcomes = [Outcome(UNKNOWN)] * len(post.events)
    try:
        answer = await client.request(post.method, post.path, content=post.body, headers=post.headers)
        outcomes = list(outcomes_of(post, answer.status_code, answer.content))
    except httpx.TransportError:
        return outcomes
    finally:
        # A writer that is ended before the answer comes does not know either.
        ledger.write(post, sent_at, outcomes)
    return outcomes


def outcomes_of(post: Post, status: int, body: bytes) -> Iterator[Outcome]:
    """Yield the outcome in an answer of each event of a request."""
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    if not post.is_batch or status != 207:
        yield from [_outcome(status, said)] * len(post.events)
        return
    for item in said["items"]:
        error = item.get("error")
        yield _outcome(_status_of(error) if error else 202, error or item)


def _status_of(error: dict[str, Any]) -> int:
    return 503 if error["code"] in ("log_unavailable", "overloaded") else 422


def _outcome(status: int, said: dict[str, Any]) -> Outcome:
    if status < 300:
        return Outcome(ACKNOWLEDGED, said["event_id"], said.get("version"), status)
    certain = 400 <= status < 500 or said.get("code") == "overloaded"
    return Outcome(REFUSED if certain else UNKNOWN, status=status)


def sums(directory: Path) -> dict[str, int]:
    """Return how many events were sent, and with which outcome."""
    found = {"sent": 0, ACKNOWLEDGED: 0, UNKNOWN: 0, REFUSED: 0}
    for line in read(directory):
        found["sent"] += 1
        found[line["outcome"]] += 1
    return found
