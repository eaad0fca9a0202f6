"""Reads and decompresses request bodies, within limits of size, memory and time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar

from services.ingest.core.content import decompress, encoding_of, too_large
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.validation import BYTE_ORDER_MARK
from services.ingest.event_log import Overloaded
from services.ingest.metrics import BODY_BYTES, UPLOAD_BYTES
from services.runtime.core.quota import ByteQuota

T = TypeVar("T")

CHECKS = 8
"""Checks per timeout: a wait ends at most an eighth of the timeout too late."""


class CoarseTimeout:
    """A timeout for waits that nearly always end at once.

    `asyncio.timeout` arms and cancels a timer for each wait, a tenth of the cost of a request here.  One
    timer that checks all waits now and then is much cheaper, and less exact.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Return the result, or raise TimeoutError.  A task may wait for one awaitable at a time."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine is always run by a task)
        self._waiting[task] = time.monotonic()
        if self._timer is None:
            self._check_later()
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

    def _check_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.seconds / CHECKS, self._check)

    def _check(self) -> None:
        self._timer = None
        now = time.monotonic()
        for task, since in self._waiting.items():
            if now - since > self.seconds and task not in self._late:
                self._late.add(task)
                task.cancel()
        if self._waiting:
            self._check_later()


Receive = Callable[[], Awaitable[Any]]
Headers = Mapping[bytes, bytes]

INLINE_BYTES = 64 << 10
"""Larger bodies are decompressed in a thread, and count against the quota."""


class ClientDisconnected(Exception):  # noqa: N818
    """The client disconnected before its body had arrived, so no answer is sent."""


class UploadReservation:
    """The bytes that a request holds of the quota for large bodies, until the end of a `with` block."""

    __slots__ = ("_quota", "_size", "_tenant")

    def __init__(self, quota: ByteQuota, tenant: str) -> None:
        self._quota, self._tenant, self._size = quota, tenant, 0

    def grow(self, count: int) -> None:
        """Hold `count` more bytes; raise Overloaded if the quota refuses them."""
        if not self._quota.take_more(self._tenant, count, self._size):
            raise Overloaded
        self._size += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._size:
            self._quota.give(self._tenant, self._size)


class BodyReader:
    """Reads bodies, and limits the total bytes of those that arrive or are worked on."""

    def __init__(self, max_upload_bytes: int, seconds: float) -> None:
        self._quota = ByteQuota(max_upload_bytes)
        self._timeout = CoarseTimeout(seconds)
        UPLOAD_BYTES.set_function(lambda: self._quota.used)

    def reserve(self, tenant: str) -> UploadReservation:
        """Return an empty reservation for a tenant's request."""
        return UploadReservation(self._quota, tenant)

    async def read(
        self,
        receive: Receive,
        headers: Headers,
        limit: int,
        reservation: UploadReservation,
        arrived: bytes | None = None,
    ) -> bytes:
        """Return the body, decompressed and without byte order mark; both forms take at most `limit` bytes.

        `arrived` is the body if it has been received already.  Raises Rejection, Overloaded or
        ClientDisconnected.
        """
        encoding = encoding_of(headers.get(b"content-encoding"))
        if int(headers.get(b"content-length", b"0")) > limit:
            raise too_large(limit)
        if arrived is None:
            body = await self._wait_for(receive, limit, reservation)
        else:
            body = _checked(arrived, limit, reservation)
        BODY_BYTES.inc(len(body))
        if encoding is not None:
            body = await self._plain(encoding, body, limit, reservation)
        return body.removeprefix(BYTE_ORDER_MARK)

    async def _plain(self, encoding: str, body: bytes, limit: int, reservation: UploadReservation) -> bytes:
        if len(body) <= INLINE_BYTES:
            plain = decompress(encoding, body, limit)
        else:
            plain = await asyncio.to_thread(decompress, encoding, body, limit)
        if len(plain) > INLINE_BYTES:
            reservation.grow(len(plain))
        return plain

    async def _wait_for(self, receive: Receive, limit: int, reservation: UploadReservation) -> bytes:
        try:
            return await self._timeout.wait(_received(receive, limit, reservation))
        except TimeoutError:
            detail = f"the body did not arrive within {self._timeout.seconds:g} s"
            raise Rejection(Code.REQUEST_TIMEOUT, detail) from None


def _checked(body: bytes, limit: int, reservation: UploadReservation) -> bytes:
    if len(body) > limit:
        raise too_large(limit)
    if len(body) > INLINE_BYTES:
        reservation.grow(len(body))
    return body


async def _received(receive: Receive, limit: int, reservation: UploadReservation) -> bytes:
    message = await receive()
    if message["type"] != "http.request":
        raise ClientDisconnected
    if not message.get("more_body", False):  # nearly always a single message, which needs no copy
        return _checked(message.get("body", b""), limit, reservation)
    return await _gathered(receive, message, limit, reservation)


async def _gathered(receive: Receive, message: Any, limit: int, reservation: UploadReservation) -> bytes:
    body = bytearray()
    while True:
        piece = message.get("body", b"")
        if len(body) + len(piece) > limit:
            raise too_large(limit)
        reservation.grow(len(piece))
        body += piece
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
