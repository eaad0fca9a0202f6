"""uvicorn has every private name that our HTTP server reaches for, and uses it as we expect."""

import asyncio
import inspect

import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

from services.runtime.http.request_cycle import RequestCycleProtocol


async def _ignore(_scope: object, _receive: object, _send: object) -> None:
    pass


def test_the_rules_for_headers_and_status_lines_have_their_names() -> None:
    """`Exchange.answer` writes an answer by the same rules as uvicorn does."""
    assert httptools_impl.STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert httptools_impl.HEADER_RE.search(b"a b")
    assert httptools_impl.HEADER_VALUE_RE.search(b"a\nb")
    assert not httptools_impl.HEADER_VALUE_RE.search(b"a b")


async def test_a_connection_has_the_state_that_ours_overrides() -> None:
    """`RequestCycleProtocol` repeats `on_headers_complete` and `on_response_complete` with less work."""
    config = Config(_ignore, log_config=None)
    config.load()
    protocol = HttpToolsProtocol(config, ServerState(), app_state={}, _loop=asyncio.get_running_loop())
    for name in (
        "access_log",
        "access_logger",
        "app",
        "connections",
        "cycle",
        "expect_100_continue",
        "flow",
        "headers",
        "logger",
        "loop",
        "parser",
        "pipeline",
        "scope",
        "server_state",
        "timeout_keep_alive",
        "transport",
    ):
        assert hasattr(protocol, name), name
    for name in ("_unset_keepalive_if_required", "on_headers_complete", "on_response_complete"):
        ours, theirs = (getattr(kind, name) for kind in (RequestCycleProtocol, HttpToolsProtocol))
        assert [*inspect.signature(ours).parameters] == [*inspect.signature(theirs).parameters]
    assert [*inspect.signature(HttpToolsProtocol._start_asgi_task).parameters] == ["self", "cycle", "app"]
    assert [*inspect.signature(HttpToolsProtocol.timeout_keep_alive_handler).parameters] == ["self"]
    source = inspect.getsource(HttpToolsProtocol.on_headers_complete)
    assert "self.pipeline.appendleft((self.cycle, app))" in source
    assert "self.flow.pause_reading()" in source
    assert "self.pipeline.pop()" in inspect.getsource(HttpToolsProtocol.on_response_complete)


def test_a_request_cycle_has_the_state_that_ours_works_on() -> None:
    """`Exchange` adds two short cuts to it."""
    assert [*inspect.signature(RequestResponseCycle.__init__).parameters][1:] == [
        "scope",
        "transport",
        "flow",
        "logger",
        "access_logger",
        "access_log",
        "default_headers",
        "message_event",
        "expect_100_continue",
        "keep_alive",
        "on_response",
    ]
    source = inspect.getsource(RequestResponseCycle.__init__)
    for name in (
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "waiting_for_100_continue",
    ):
        assert f"self.{name} = " in source or f"self.{name}: " in source, name


def test_a_server_stops_by_the_names_that_ours_uses() -> None:
    """`DrainingServer` records the signal, and delays `should_exit`."""
    server = Server(Config(_ignore, log_config=None))
    assert server._captured_signals == []
    assert server.should_exit is False
    assert server.server_state.connections == set()
    source = inspect.getsource(Server)
    assert "await self.on_tick(counter)" in source
    assert "self.handle_exit" in source
    assert "with self.capture_signals():" in source


def test_the_version_is_one_that_these_names_were_read_in() -> None:
    """A newer one is allowed in `pyproject.toml` once this file passes with it."""
    assert tuple(map(int, uvicorn.__version__.split(".")[:2])) < (0, 55)
