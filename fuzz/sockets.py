"""Raw bytes on a socket: all connections end in time, and no answer is a 5xx of no document."""

import socket
from collections import Counter
from time import monotonic

from fuzz.answers import Answer, answers_of
from fuzz.conversations import Conversation
from fuzz.framings import Exchanges

ANSWERED_SECONDS = 1.0
"""How long a client that may have sent half a request waits before it half-closes."""
ENDED_SECONDS = 60.0
"""How long the end of a connection may take after that, on a busy machine."""


class Hang(Exception):  # noqa: N818 (it is what happened)
    """A connection that neither answered nor ended."""


class Fault(Exception):  # noqa: N818 (it is what happened)
    """An answer that must not be."""


def talk(port: int, conversation: Conversation) -> Counter[int]:
    """Hold a conversation on a connection of its own; how often each status came back.

    Hang, Fault, or `answers.Malformed` when the service did not behave.
    """
    return Counter(answer.status for answer in _answers(port, conversation))


def exchange(port: int, exchanges: Exchanges) -> Counter[int]:
    """Do the same with one whose answers are known: Fault when they are others."""
    answers = _answers(port, exchanges)
    if complaint := exchanges.complaint(answers):
        raise Fault(f"{complaint}: {[(answer.status, answer.body[:200]) for answer in answers]}")
    return Counter(answer.status for answer in answers)


def _answers(port: int, conversation: Conversation) -> list[Answer]:
    with socket.create_connection(("127.0.0.1", port), timeout=ENDED_SECONDS) as client:
        received = bytearray()
        try:
            for piece in conversation.pieces:
                client.sendall(piece)
            if not conversation.ends:
                _read(client, received, ANSWERED_SECONDS)
            client.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise Hang("it does not take what is sent") from None
        except OSError:
            pass  # it had enough; what it sent is still to be read
        if not _read(client, received, ENDED_SECONDS):
            raise Hang(f"no end within {ENDED_SECONDS:.0f} s after {bytes(received[:300])!r}")
    answers = answers_of(bytes(received))
    for answer in answers:
        if answer.is_fault:
            raise Fault(f"{answer.status}: {answer.body[:500]!r}")
    return answers


def _read(client: socket.socket, received: bytearray, seconds: float) -> bool:
    """Read what arrives within `seconds`; return whether the connection ended."""
    until = monotonic() + seconds
    while (left := until - monotonic()) > 0:
        client.settimeout(left)
        try:
            piece = client.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            return True
        if not piece:
            return True
        received += piece
        if seconds == ANSWERED_SECONDS:
            until = min(until, monotonic() + 0.05)
    return False
