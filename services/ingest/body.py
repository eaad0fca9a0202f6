"""Reading a request's body, within limits of size and time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar

from services.ingest.core.content import decompress, encoding_of, too_large
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.quota import Shares
from services.ingest.core.validation import BYTE_ORDER_MARK
from services.ingest.event_log import Overloaded
from services.ingest.metrics import BODY_BYTES, UPLOAD_BYTES

T = TypeVar("T")

ROUNDS = 8
"""A wait that is too long ends within an eighth of the limit after it."""


class Patience:
    """Ends waits that take longer than so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Return the result, or raise TimeoutError.  A task waits for one thing at a time."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine is always run by a task)
        self._waiting[task] = time.monotonic()
        if self._timer is None:
            self._look_later()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            del self._waiting[task]
            self._late.discard(task)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.seconds / ROUNDS, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for task, since in self._waiting.items():
            if now - since > self.seconds and task not in self._late:
                self._late.add(task)
                task.cancel()
        if self._waiting:
            self._look_later()


Receive = Callable[[], Awaitable[Any]]
Headers = Mapping[bytes, bytes]

INLINE_BYTES = 64 << 10
"""Decompressed on the event loop up to this size; beyond, in a thread.  Larger bodies are counted."""


class ClientGone(Exception):  # noqa: N818
    """The client left before its body had arrived: nobody is there to answer."""


class Hold:
    """What one request holds of the bytes that large bodies may take; a `with` block gives them back."""

    __slots__ = ("_shares", "_size", "_tenant")

    def __init__(self, shares: Shares, tenant: str) -> None:
        self._shares, self._tenant, self._size = shares, tenant, 0

    def grow(self, count: int) -> None:
        """Hold so many more; Overloaded when that is too much.  Who is alone may hold any number."""
        if not self._shares.take_more(self._tenant, count, self._size):
            raise Overloaded
        self._size += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._size:
            self._shares.give(self._tenant, self._size)


class Bodies:
    """Reads bodies, and bounds the bytes of all that are on their way in, or being worked on."""

    def __init__(self, max_upload_bytes: int, seconds: float) -> None:
        self._shares = Shares(max_upload_bytes)
        self._patience = Patience(seconds)
        UPLOAD_BYTES.set_function(lambda: self._shares.used)

    def hold(self, tenant: str) -> Hold:
        """Return what a tenant's request holds while it is worked on: nothing yet."""
        return Hold(self._shares, tenant)

    async def read(
        self, receive: Receive, headers: Headers, limit: int, hold: Hold, arrived: bytes | None = None
    ) -> bytes:
        """Return the body, decompressed, without a byte order mark, at most `limit` bytes either way.

        `arrived` is what nobody has to wait for.  Raises Rejection, Overloaded or ClientGone.
        """
        encoding = encoding_of(headers.get(b"content-encoding"))
        if int(headers.get(b"content-length", b"0")) > limit:
            raise too_large(limit)
        if arrived is None:
            body = await self._wait_for(receive, limit, hold)
        else:
            body = _checked(arrived, limit, hold)
        BODY_BYTES.inc(len(body))
        if encoding is not None:
            body = await self._plain(encoding, body, limit, hold)
        return body.removeprefix(BYTE_ORDER_MARK)

    async def _plain(self, encoding: str, body: bytes, limit: int, hold: Hold) -> bytes:
        if len(body) <= INLINE_BYTES:
            plain = decompress(encoding, body, limit)
        else:
            plain = await asyncio.to_thread(decompress, encoding, body, limit)
        if len(plain) > INLINE_BYTES:
            hold.grow(len(plain))
        return plain

    async def _wait_for(self, receive: Receive, limit: int, hold: Hold) -> bytes:
        try:
            return await self._patience.wait(_received(receive, limit, hold))
        except TimeoutError:
            detail = f"the body did not arrive within {self._patience.seconds:g} s"
            raise Rejection(Code.REQUEST_TIMEOUT, detail) from None


def _checked(body: bytes, limit: int, hold: Hold) -> bytes:
    if len(body) > limit:
        raise too_large(limit)
    if len(body) > INLINE_BYTES:
        hold.grow(len(body))
    return body


async def _received(receive: Receive, limit: int, hold: Hold) -> bytes:
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    if not message.get("more_body", False):  # nearly always: one message, and no copy of it
        return _checked(message.get("body", b""), limit, hold)
    return await _gathered(receive, message, limit, hold)


async def _gathered(receive: Receive, message: Any, limit: int, hold: Hold) -> bytes:
    body = bytearray()
    while True:
        piece = message.get("body", b"")
        if len(body) + len(piece) > limit:
            raise too_large(limit)
        hold.grow(len(piece))
        body += piece
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
