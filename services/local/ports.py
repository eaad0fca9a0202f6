"""Loopback ports: which are free, and which answer."""

import random
import socket

from services.local.core.kafka_config import LOOPBACK

_BELOW_EPHEMERAL = range(15_000, 32_000)
"""Ports that the kernel gives to no outgoing connection, so that one stays free until a server takes it."""
_dice = random.SystemRandom()
"""Not the shared one: processes that seed that one alike would choose the same ports at the same time."""

_returned: set[int] = set()


def free_port(but_not: int = 0) -> int:
    """Return a loopback port that nothing listens on right now, and that is not the one given.

    A process gets each port once: the caller may not listen on the one before yet.
    """
    if len(_returned) > len(_BELOW_EPHEMERAL) // 2:
        _returned.clear()
    while True:
        port = _dice.choice(_BELOW_EPHEMERAL)
        if port != but_not and port not in _returned and is_free(port):
            _returned.add(port)
            return port


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
