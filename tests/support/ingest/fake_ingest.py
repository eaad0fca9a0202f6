"""An ingest that keeps its events in memory and misbehaves when told to: a real HTTP server.

It speaks the routes that client commands use.  A contract suite holds it against the real one.
"""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.support.oracles.event_log import EventLog

Answer = tuple[int, dict[str, Any]]


class FakeIngest:
    """What the server took, and what it is to do next."""

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.log = EventLog()
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request, those included that misbehaved."""
        self.batches: list[tuple[str | None, bytes]] = []
        """Idempotency-Key and body of every batch, those included that misbehaved."""
        self.next: deque[str] = deque()
        """What happens to the next requests: `refuse` and `limit` answer 503 and 429, `drop` closes the
        connection before and `lose` after the events are taken, `part` takes every other event, `strange`
        answers what ingest never would.  When it is empty, requests are answered as they should be."""
        self.held_back: bytes | None = None
        """Bodies that have this in them are refused with 503."""
        self.retry_after = "0"
        self._lock = threading.Lock()
        self.url = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer | None:
        """Return status and body; None closes the connection."""
        with self._lock:
            self.requests.append((method, path))
            if (method, path) == ("POST", "/v1/events"):
                self.batches.append((headers.get("idempotency-key"), body))
            happening = self.next.popleft() if self.next else ""
            if self.held_back is not None and self.held_back in body:
                happening = "refuse"
            if happening == "drop":
                return None
            if happening == "strange":
                return 200, {"hello": "world"}
            if refusal := self._refusal(happening, headers):
                return refusal
            answer = self._route(method, path, headers, body, part=happening == "part")
            return None if happening == "lose" else answer

    def _refusal(self, happening: str, headers: dict[str, str]) -> Answer | None:
        if happening == "refuse":
            return problem(503, "overloaded", "too much is waiting")
        if happening == "limit":
            return problem(429, "rate_limited", "too many events")
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            return problem(401, "unauthenticated", "a valid key is required")
        return None

    def _route(self, method: str, path: str, headers: dict[str, str], body: bytes, *, part: bool) -> Answer:
        name = unquote(path.rpartition("/")[2])
        key = headers.get("idempotency-key")
        if (method, path) == ("POST", "/v1/events"):
            return self._batch(body, key, part=part)
        if method == "POST" and path.startswith("/feedback/"):
            return self._one({"request_id": name, **json.loads(body)}, key)
        if method == "PUT" and path.startswith("/v1/requests/"):
            return self._one({"request_id": name, "request": json.loads(body)}, key)
        if method == "DELETE" and path.startswith("/feedback/"):
            return self._one({"request_id": name, "op": "retract"}, key)
        if (method, path) == ("POST", "/v1/feedback/"):
            return self._vote(json.loads(body), key)
        return problem(404, "not_found", "no such route")

    def _one(self, item: dict[str, Any], key: str | None) -> Answer:
        fault = fault_in(item)
        if fault:
            return problem(422, "invalid_feedback", fault)
        return 202, {**self._taken(item, key, 0), "request_id": item["request_id"]}

    def _vote(self, vote: dict[str, Any], key: str | None) -> Answer:
        data = {name: vote[name] for name in ("rating", "comment", "tags") if vote.get(name)}
        taken = self._taken({"request_id": vote["message_id"], "data": data}, key, 0)
        return 200, {**taken, "message_id": vote["message_id"]}

    def _batch(self, body: bytes, key: str | None, *, part: bool) -> Answer:
        items = []
        for index, line in enumerate(body.split(b"\n")):
            if line.strip():
                refused = part and index % 2 == 0
                items.append({"index": index, **(_later() if refused else self._item(line, key, index))})
        rejected = sum("error" in item for item in items)
        return 207, {"accepted": len(items) - rejected, "rejected": rejected, "items": items}

    def _item(self, line: bytes, key: str | None, index: int) -> dict[str, Any]:
        try:
            item = json.loads(line)
        except ValueError as error:
            return _rejected("malformed_json", str(error))
        if fault := fault_in(item):
            return _rejected("invalid_feedback", fault)
        return {**self._taken(item, key, index), "request_id": item["request_id"]}

    def _taken(self, item: dict[str, Any], key: str | None, index: int) -> dict[str, Any]:
        version = self.log.append(item, key, index)
        return {
            "status": "accepted",
            "event_id": self.log.events[version].event_id or "",
            "version": str(version),
        }


def fault_in(item: Any) -> str:
    """Return why an item is no event, or nothing."""
    if not isinstance(item, dict):
        return "must be an object"
    if not isinstance(item.get("request_id"), str) or not item["request_id"]:
        return "request_id: must be a string of 1 to 256 characters"
    if item.get("op", "merge") == "merge" and "data" not in item and "request" not in item:
        return "needs `data`, `request` or both"
    wrong = [part for part in ("data", "request") if not isinstance(item.get(part, {}), dict)]
    return f"{wrong[0]}: must be an object" if wrong else ""


def problem(status: int, code: str, detail: str) -> Answer:
    """Return an error as ingest words it."""
    return status, {
        "type": f"urn:problem:{code}",
        "title": code,
        "status": status,
        "code": code,
        "detail": detail,
    }


def _rejected(code: str, detail: str) -> dict[str, Any]:
    return {"status": "rejected", "error": {"code": code, "detail": detail}}


def _later() -> dict[str, Any]:
    return _rejected("overloaded", "too much is waiting")


def _handler(ingest: FakeIngest) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            answer = ingest.answer(self.command, self.path, headers, body)
            if answer is None:
                self.close_connection = True
                return
            status, content = answer
            self.send_response(status)
            text = json.dumps(content).encode()
            self.send_header(
                "Content-Type", "application/json" if status < 400 else "application/problem+json"
            )
            self.send_header("Content-Length", str(len(text)))
            if status in (429, 503):
                self.send_header("Retry-After", ingest.retry_after)
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT = do_DELETE = do_GET = _answer  # noqa: N815 (http.server finds them by name)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving(ingest: FakeIngest, port: int = 0) -> Iterator[FakeIngest]:
    """Serve on a free port of this machine; `ingest.url` says where."""
    with ThreadingHTTPServer(("127.0.0.1", port), _handler(ingest)) as server:
        server.daemon_threads = True
        ingest.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield ingest
        finally:
            server.shutdown()
            thread.join()
