"""What came back on one connection, taken apart.  Pure."""

import re
from dataclasses import dataclass

_HEAD = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")
_BODILESS = (204, 304)


class Malformed(Exception):  # noqa: N818 (it is what the answer is)
    """No HTTP answer."""


@dataclass(frozen=True)
class Answer:
    """One answer; `again` is whether it has a Retry-After."""

    status: int
    body: bytes
    again: bool

    @property
    def is_fault(self) -> bool:
        """Whether it is an undocumented 5xx: those that are documented have a Retry-After."""
        return self.status >= 500 and not (self.status == 503 and self.again)


def answers_of(received: bytes) -> list[Answer]:
    """Return the answers on a connection, in order; Malformed when the bytes are no such thing.

    The last one may be cut short, and one to HEAD has no body whatever length it names.
    """
    found, rest = [], received
    while rest:
        head = _HEAD.match(rest)
        if head is None:
            raise Malformed(repr(rest[:200]))
        fields, _, after = rest.partition(b"\r\n\r\n")
        status = int(head[1])
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", fields)
        if status < 200 or status in _BODILESS:
            body, rest = b"", after
        elif re.search(rb"(?i)\r\ntransfer-encoding: *chunked", fields):
            body, rest = _unchunked(after)
        elif length is None:
            body, rest = after, b""
        else:
            body, rest = after[: int(length[1])], after[int(length[1]) :]
            if _HEAD.match(after):
                body, rest = b"", after
        if status >= 200:
            found.append(Answer(status, body, b"\r\nretry-after:" in fields.lower()))
    return found


def _unchunked(after: bytes) -> tuple[bytes, bytes]:
    body = b""
    while line := re.match(rb"([0-9a-fA-F]+)\r\n", after):
        size, start = int(line[1], 16), line.end()
        body += after[start : start + size]
        after = after[start + size + 2 :]
        if size == 0:
            return body, after
    return body, b"" if not _HEAD.match(after) else after
