"""Loopback ports: which are free, and which answer."""

import socket

from services.local.kafka_config import LOOPBACK


def free_port(but_not: int = 0) -> int:
    """Return a loopback port that nothing listens on right now, and that is not the one given."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
    return port if port != but_not else free_port(but_not)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    with socket.socket() as listener:
        # As servers do: connections that linger from an earlier run do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
