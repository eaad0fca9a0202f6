"""Loopback ports for servers that do not listen yet."""

from services.local.ports import free_port


def test_no_port_is_returned_twice() -> None:
    """A stack chooses all its ports before it starts the first server, and refuses two that are the same."""
    ports = [free_port() for _ in range(3000)]

    assert len(set(ports)) == len(ports)
