"""How a process says why it ends."""

import errno
import os
import socket

import pytest

from services.runtime.exits import USAGE, complain, unlistenable


def failure(host: str, port: int) -> OSError:
    """Return what listening there fails with."""
    with pytest.raises(OSError) as caught:
        socket.create_server((host, port))
    return caught.value


def test_a_port_that_is_taken_is_named_with_what_sets_it() -> None:
    """Whoever started it by hand knows what to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = unlistenable(failure("127.0.0.1", port), "127.0.0.1", port, "SINK_METRICS")

    assert text == (
        f"127.0.0.1:{port} is taken by another program: stop it, or set SINK_METRICS_PORT to a free port"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_of_this_machine_is_named_with_what_sets_it(host: str) -> None:
    """An address of somebody else's, or a name of nobody's."""
    text = unlistenable(failure(host, 0), host, 0, "INGEST")

    assert text is not None
    assert text.startswith(f"cannot listen on {host}:0 (")
    assert text.endswith("change INGEST_HOST or INGEST_PORT")


def test_other_errors_have_nothing_to_do_with_listening() -> None:
    """A full disk is no reason to change a port."""
    assert unlistenable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "h", 1, "INGEST") is None


def test_each_line_of_a_complaint_names_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    """Several services may share a terminal."""
    code = complain("sink", "one\ntwo", USAGE)

    assert code == USAGE
    assert capsys.readouterr().err == "sink: one\nsink: two\n"
