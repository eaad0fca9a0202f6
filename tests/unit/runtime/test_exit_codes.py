"""How a process says why it ends."""

import errno
import os
import socket

import pytest

from services.runtime.exit_codes import USAGE, complain, unlistenable


def test_a_port_that_is_taken_is_named_with_what_sets_it() -> None:
    """Whoever started it by hand knows what to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            socket.create_server(("127.0.0.1", port))
    text = unlistenable(caught.value, "127.0.0.1", port, "SINK_METRICS")

    assert text == (
        f"127.0.0.1:{port} is taken by another program: stop it, or set SINK_METRICS_PORT to a free port"
    )


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EACCES, socket.EAI_NONAME])
def test_an_address_that_cannot_be_had_is_named_with_what_sets_it(number: int) -> None:
    """One of another machine, one that needs more rights, and a name of nobody's."""
    text = unlistenable(OSError(number, "No"), "192.0.2.1", 8080, "INGEST")

    assert text == "cannot listen on 192.0.2.1:8080 (No): change INGEST_HOST or INGEST_PORT"


def test_other_errors_have_nothing_to_do_with_listening() -> None:
    """A full disk is no reason to change a port."""
    assert unlistenable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "h", 1, "INGEST") is None


def test_each_line_of_a_complaint_names_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    """Several services may share a terminal."""
    code = complain("sink", "one\ntwo", USAGE)

    assert code == USAGE
    assert capsys.readouterr().err == "sink: one\nsink: two\n"
