"""What uvicorn does for each request, with less: no timer for each, and short cuts for the application."""

import asyncio
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.runtime.http.exchange import EXCHANGE, Exchange

TOLERANCE_SECONDS = 0.01
"""A connection may end so much too early: timers are no more exact than that."""


class LeanProtocol(HttpToolsProtocol):
    """A connection.  One timer looks now and then whether it is idle: one for each pause costs more."""

    _idle_since: float | None = None
    """When the last answer was complete; None while a request is being read or answered."""
    _idle_timer: asyncio.TimerHandle | None = None

    def on_headers_complete(self) -> None:
        """Hand a request to the application."""
        version = self.parser.get_http_version()
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        scope["raw_path"] = url.path
        path = url.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""
        self._begin(scope, keep_alive=version != "1.0" and self.parser.should_keep_alive())

    def _begin(self, scope: Any, *, keep_alive: bool) -> None:
        earlier: RequestResponseCycle | None = self.cycle
        self.cycle = exchange = Exchange(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        exchange.idle_seconds = self.timeout_keep_alive
        scope["extensions"] = {EXCHANGE: exchange}
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(exchange, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def on_response_complete(self) -> None:
        """Go on with the request that stands behind, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._look_for_idleness(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _look_for_idleness(self, seconds: float) -> None:
        self._idle_timer = self.loop.call_later(seconds, self._end_if_idle)

    def _end_if_idle(self) -> None:
        self._idle_timer = None
        left = float(self.timeout_keep_alive)
        if self._idle_since is not None:
            left -= self.loop.time() - self._idle_since
        if left > TOLERANCE_SECONDS:
            self._look_for_idleness(left)
        else:
            self.timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)
