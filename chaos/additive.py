"""What the writers send where an operator is needed: events that add, so that each can be seen in its row.

Every event puts a field of its own into a request's row, and a number that counts up.  A request is written
to by one writer alone, so what its row must be follows from what was acknowledged, whatever became of the
topics and their offsets.  Pure: a Random in, requests out.
"""

import json
from collections import deque
from random import Random
from typing import Any
from urllib.parse import quote

from chaos.ledger import Event, Post

LATEST = "latest"
"""The field that counts up."""

_OPEN = 12
"""Requests that a writer writes to at a time."""
_EVENTS = 25
"""Events after which a request gets no more."""
_ERASED = 0.15
"""Share of the requests that are erased in the end."""


class Additive:
    """What one writer sends."""

    def __init__(self, writer: int, random: Random) -> None:
        self._writer, self._random = writer, random
        self._count = self._keys = 0
        self._open: deque[str] = deque()
        self._sent: dict[str, int] = {}

    def next(self) -> Post:
        """Return the next request."""
        while len(self._open) < _OPEN:
            self._open.append(f"a{self._writer}-{len(self._sent):05d}")
            self._sent[self._open[-1]] = 0
        if self._sent[self._open[0]] >= _EVENTS:
            request_id = self._open.popleft()
            if self._random.random() < _ERASED:
                return self._native([Event(request_id, op="erase")])
        choose = self._random.random()
        if choose < 0.3:
            event = self._merge(self._random.choice(self._open), facts=False)
            body = json.dumps({"data": event.data}).encode()
            path = f"/feedback/{quote(event.request_id, safe='')}"
            return Post("POST", path, body, "requesty", (event,), self._key())
        many = self._random.randint(2, 8) if choose < 0.6 else 1
        chosen = self._random.sample(list(self._open), many)
        return self._native([self._merge(one, facts=True) for one in chosen])

    def _merge(self, request_id: str, *, facts: bool) -> Event:
        self._count += 1
        self._sent[request_id] += 1
        data: dict[str, Any] = {f"m{self._count}": f"{self._writer}:{self._count}", LATEST: self._count}
        with_facts = facts and self._random.random() < 0.3
        return Event(request_id, data=data, request={f"f{self._count}": self._count} if with_facts else None)

    def _native(self, events: list[Event]) -> Post:
        lines = [
            {"request_id": event.request_id, "op": event.op}
            | {part: said for part, said in (("data", event.data), ("request", event.request)) if said}
            for event in events
        ]
        body = b"\n".join(json.dumps(line).encode() for line in lines)
        return Post(
            "POST", "/v1/events", body, "native", tuple(events), self._key(), is_batch=len(events) > 1
        )

    def _key(self) -> str | None:
        if self._random.random() > 0.3:
            return None
        self._keys += 1
        return f"add-{self._writer}-{self._keys}"
