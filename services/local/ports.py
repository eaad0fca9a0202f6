"""Finds free loopback ports."""

import random
import socket

from services.local.core.kafka_config import LOOPBACK

_BELOW_EPHEMERAL = range(15_000, 32_000)
"""Ports outside the ephemeral range, so that one stays free until a server binds it."""
_random = random.SystemRandom()
"""Not the shared generator: processes that seed that one alike would choose the same ports."""

_returned: set[int] = set()


def free_port(but_not: int = 0) -> int:
    """Return a loopback port other than `but_not` that no process listens on.

    A process gets each port once, since an earlier caller may not have bound its port yet.
    """
    if len(_returned) > len(_BELOW_EPHEMERAL) // 2:
        _returned.clear()
    while True:
        port = _random.choice(_BELOW_EPHEMERAL)
        if port != but_not and port not in _returned and is_free(port):
            _returned.add(port)
            return port


def is_free(port: int) -> bool:
    """Return whether a server could bind this loopback port now."""
    with socket.socket() as listener:
        # As servers do: connections in TIME_WAIT do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
