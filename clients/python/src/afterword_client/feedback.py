"""The client: its calls queue events, and one background thread sends them in batches."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import math
import os
import random
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from afterword_client.delivery import Batch, Event, Ingest, Postponed, Refused, delay_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

logger = logging.getLogger("afterword_client")

BATCH_EVENTS, BATCH_BYTES = 500, 1 << 20
REPORT_SECONDS = 60.0
"""Dropped events are logged at most this often."""


class NotQueuedError(Exception):
    """With `strict=True`: an event is not JSON, the queue is full, or the client is closed."""


class Feedback:
    """Sends feedback to the ingest at `url`, with a write key if it requires one.

    Calls never wait for the network and raise nothing, unless `strict`: then they raise NotQueuedError.
    At most `max_events` events of `max_bytes` in all wait for delivery; what exceeds it is dropped.
    `timeout`, in seconds, is for each wait of a request, `exit_timeout` for the delivery at exit.
    ValueError for an unusable URL or key.

    It may be used from any thread, from coroutines, and after a fork, where the child begins with an empty
    queue; a process that ends by `os._exit`, such as a child of multiprocessing, must call `flush` itself.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        strict: bool = False,
        max_events: int = 10_000,
        max_bytes: int = 32 << 20,
        timeout: float = 10.0,
        exit_timeout: float = 5.0,
    ) -> None:
        self.strict, self.exit_timeout = strict, exit_timeout
        self.dropped = 0
        """Events that were not and will not be sent, such as those that found the queue full."""
        self._ingest, self._timeout = Ingest(url, key), timeout
        self._max_events, self._max_bytes = max_events, max_bytes
        self._closed = False
        self._reset()
        _CLIENTS.add(self)

    def send(self, request_id: str, /, **data: Any) -> bool:
        """Queue feedback; these keys replace earlier values, None clears one.  False if it was dropped."""
        return self._queue_event({"request_id": request_id, "data": data})

    def facts(self, request_id: str, /, **facts: Any) -> bool:
        """Queue facts of the request, such as model, latency_ms and cost_usd.  False if they were dropped."""
        return self._queue_event({"request_id": request_id, "request": facts})

    def retract(self, request_id: str, /) -> bool:
        """Queue the removal of all earlier feedback on a request.  False if it was dropped."""
        return self._queue_event({"request_id": request_id, "op": "retract"})

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all queued events are stored, rejected or dropped; False if that takes more seconds."""
        with self._changed:
            awaited, self._hurry = self._queued, True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= awaited, timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Flush and stop, in at most `timeout` or `exit_timeout` seconds; drop the rest, and return False."""
        timeout = self.exit_timeout if timeout is None else timeout
        with self._changed:
            if self._closed:
                return self._queued == self._settled
            self._closed, self._deadline = True, time.monotonic() + timeout
            unstarted = self._thread is None
        if unstarted:  # the system has no thread for it, or Python 3.12 exits and starts none
            self._run()
        self.flush(timeout)
        with self._changed:
            self._deadline = time.monotonic()
            rest = self._queued - self._settled
            self.dropped += rest
            self._changed.notify_all()
        if rest:
            logger.warning("%d event(s) of feedback were not sent before the client closed", rest)
        return rest == 0

    async def aflush(self, timeout: float = 10.0) -> bool:
        """Do what `flush` does, while the event loop runs."""
        return await asyncio.to_thread(self.flush, timeout)

    async def aclose(self, timeout: float | None = None) -> bool:
        """Do what `close` does, while the event loop runs."""
        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _reset(self) -> None:
        """Begin with an empty queue and no thread."""
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._bytes = self._queued = self._settled = 0
        self._thread: threading.Thread | None = None
        self._hurry = False
        self._deadline = math.inf
        self._next_report = 0.0

    def _queue_event(self, event: dict[str, Any]) -> bool:
        request_id = event["request_id"]
        try:
            text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            reason = self._append(Event(request_id, text.encode()))
        except Exception as error:  # noqa: BLE001 (whatever a value raises, the app has to run on)
            self._drop(1)
            logger.warning("feedback on request %r was dropped, since it is not JSON: %s", request_id, error)
            reason = f"feedback is not JSON: {error}"
        if reason and self.strict:
            raise NotQueuedError(reason)
        return not reason

    def _append(self, event: Event) -> str:
        """Queue an event; return why it was dropped instead, or nothing."""
        with self._changed:
            size = len(event.line)
            full = self._queued - self._settled >= self._max_events or self._bytes + size > self._max_bytes
            if not (full or self._closed):
                self._events.append(event)
                self._bytes += size
                self._queued += 1
                self._start()
                self._changed.notify_all()
                return ""
        reason = "the client is closed" if self._closed else "the queue is full"
        self._drop(1)
        self._report(f"%d event(s) of feedback were dropped: {reason}", self.dropped)
        return reason

    def _drop(self, number: int) -> None:
        with self._changed:
            self.dropped += number

    def _report(self, message: str, *arguments: object) -> None:
        """Log what may repeat with every call."""
        with self._changed:
            due = time.monotonic() >= self._next_report
            if due:
                self._next_report = time.monotonic() + REPORT_SECONDS
        if due:
            logger.warning(message, *arguments)

    def _start(self) -> None:
        """Start the thread if it does not run."""
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="afterword_client", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread can be started now: the next call, or `close`, tries again
                return
            self._thread = thread

    def _run(self) -> None:
        """Deliver batches, in order and one at a time, until the client is closed."""
        while batch := self._next_batch():
            try:
                delivered = self._deliver(batch)
            except Exception:  # (a batch that fails each time must not hold up the others)
                self._drop(len(batch.events))
                logger.exception("%d event(s) of feedback were dropped", len(batch.events))
                delivered = True
            if not delivered:
                return
            with self._changed:
                self._settled += len(batch.events)
                self._bytes -= sum(len(event.line) for event in batch.events)
                self._changed.notify_all()

    def _next_batch(self) -> Batch | None:
        """Wait for events; None once the client is closed and has no more, or no more time."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed)
            if not self._events or self._is_over():
                return None
            events: list[Event] = []
            size = 0
            while self._events and len(events) < BATCH_EVENTS and size < BATCH_BYTES:
                events.append(self._events.popleft())
                size += len(events[-1].line)
            return Batch(events)

    def _deliver(self, batch: Batch) -> bool:
        """Send a batch until ingest accepts or refuses it; False if there is no more time for that."""
        number, attempt = len(batch.events), 0
        while isinstance(answer := self._ingest.post(batch, self._seconds(self._timeout)), Postponed):
            log = logger.debug if attempt else logger.warning
            log("%d event(s) of feedback wait, and are sent again: %s", number, answer.why)
            self._pause(answer.after_seconds, delay_of(attempt, random.random()))  # noqa: S311 (no secret)
            if self._is_over():
                return False
            attempt += 1
        if isinstance(answer, Refused):
            self._drop(number)
            logger.error("%d event(s) of feedback were dropped: %s", number, answer.why)
        else:
            for position, code, detail in answer.rejections:
                request_id = batch.events[position].request_id
                logger.error("feedback on request %r was rejected: %s: %s", request_id, code, detail)
        return True

    def _pause(self, least: float, delay: float) -> None:
        """Wait `least` seconds, then as long as `delay` demands; `flush` and `close` end the latter."""
        with self._changed:
            self._changed.wait_for(self._is_over, self._seconds(least))
            rest = self._seconds(max(0.0, delay - least))
            self._changed.wait_for(lambda: self._hurry or self._is_over(), rest)
            self._hurry = False

    def _seconds(self, wanted: float) -> float:
        """Return the seconds wanted, but no more than there are until the deadline."""
        return max(0.01, min(wanted, self._deadline - time.monotonic()))

    def _is_over(self) -> bool:
        return time.monotonic() >= self._deadline


def _each_client(act: Callable[[Feedback], object]) -> Callable[[], None]:
    def act_on_all() -> None:
        for client in tuple(_CLIENTS):
            act(client)

    return act_on_all


_CLIENTS: weakref.WeakSet[Feedback] = weakref.WeakSet()
atexit.register(_each_client(Feedback.close))
if hasattr(os, "register_at_fork"):
    # What the parent has queued is the parent's to send: a copy in the child would be sent twice.
    os.register_at_fork(after_in_child=_each_client(Feedback._reset))  # noqa: SLF001 (of this module)
