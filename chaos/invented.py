"""What the writers send: votes, comments, judges, facts, in three dialects.  Pure: a Random in, requests out.

A few request ids are hot: all writers write to them all the time.  The others are cold: some events each,
facts before or after the feedback.  Every merge carries a mark of its own, so that no two events are alike.
"""

import json
from collections import deque
from random import Random
from typing import Any
from urllib.parse import quote

from chaos.ledger import Event, Post

HOT = tuple(f"hot-{number}" for number in range(24))
_REMEMBERED = 40
_WORDS = ("spot on", "too long", "wrong year", "👍", "naïve", "again, please", "thanks")


class Traffic:
    """The events of one writer."""

    def __init__(self, writer: int, random: Random) -> None:
        self._writer, self._random = writer, random
        self._count = self._keys = 0
        self._cold: deque[str] = deque(maxlen=_REMEMBERED)
        self._kept: deque[Post] = deque(maxlen=_REMEMBERED)

    def next(self) -> Post:
        """Return the next request; some are repeats, under the key that they were first sent with."""
        choose = self._random.random()
        if self._kept and choose < 0.06:
            return self._random.choice(self._kept)
        if self._kept and choose < 0.065:
            return self._conflict(self._random.choice(self._kept))
        post = self._random.choices(
            (
                self._requesty,
                self._gptboost,
                self._native,
                self._facts,
                self._batch,
                self._retract,
                self._erase,
            ),
            (30, 20, 20, 14, 10, 4, 0.6),
        )[0]()
        if post.key is not None:
            self._kept.append(post)
        return post

    def _requesty(self) -> Post:
        event = Event(self._id(), data=self._data())
        body = json.dumps({"data": event.data}).encode()
        return Post(
            "POST", f"/feedback/{quote(event.request_id, safe='')}", body, "requesty", (event,), self._key()
        )

    def _gptboost(self) -> Post:
        rating = self._random.choice(("positive", "negative", "amazing"))
        data: dict[str, Any] = {"rating": rating, "comment": self._mark()}
        if self._random.random() < 0.3:
            data["tags"] = self._random.sample(("clear", "slow", "rude"), 2)
        event = Event(self._id(), data=data)
        body = json.dumps({"message_id": event.request_id, **data}).encode()
        return Post("POST", "/v1/feedback/", body, "gptboost", (event,), self._key())

    def _native(self) -> Post:
        event = self._event(self._id())
        return Post("POST", "/v1/events", _native_body(event), "native", (event,), self._key())

    def _facts(self) -> Post:
        event = Event(self._id(), request=self._request())
        path = f"/v1/requests/{quote(event.request_id, safe='')}"
        return Post("PUT", path, json.dumps(event.request).encode(), "native", (event,), self._key())

    def _batch(self) -> Post:
        events = tuple(self._event(self._id()) for _ in range(self._random.randint(2, 30)))
        body = b"\n".join(map(_native_body, events))
        return Post("POST", "/v1/events", body, "native", events, self._key(), is_batch=True)

    def _retract(self) -> Post:
        event = Event(self._id(), op="retract")
        return Post("DELETE", f"/feedback/{quote(event.request_id, safe='')}", b"", "requesty", (event,))

    def _erase(self) -> Post:
        event = Event(self._id(), op="erase")
        return Post("POST", "/v1/events", _native_body(event), "native", (event,))

    def _conflict(self, kept: Post) -> Post:
        """Return another event under a key that was used before."""
        if kept.is_batch or kept.path != "/v1/events":
            return kept
        event = Event(kept.events[0].request_id, data=self._data())
        return Post("POST", "/v1/events", _native_body(event), "native", (event,), kept.key)

    def _event(self, request_id: str) -> Event:
        choose = self._random.random()
        return Event(
            request_id,
            data=self._data() if choose < 0.8 else None,
            request=self._request() if choose > 0.6 else None,
        )

    def _id(self) -> str:
        choose = self._random.random()
        if choose < 0.3:
            return self._random.choice(HOT)
        if self._cold and choose < 0.65:
            return self._random.choice(self._cold)
        self._cold.append(
            f"w{self._writer}-{len(HOT) + self._count:06d}" + self._random.choice(("", "/ü", " x"))
        )
        return self._cold[-1]

    def _data(self) -> dict[str, Any]:
        said: dict[str, Any] = {"mark": self._mark()}
        said[self._random.choice(("rating", "helpful", "judge", f"k{self._random.randrange(6)}"))] = (
            self._value()
        )
        return said

    def _request(self) -> dict[str, Any]:
        return {
            "model": self._random.choice(("gpt-x", "claude-y", "llama-z")),
            "latency_ms": round(self._random.uniform(50, 5000), 3),
            "user_id": f"u{self._random.randrange(500)}",
            "fact": self._mark(),
        }

    def _value(self) -> Any:
        return self._random.choice(
            (
                1,
                5,
                4.25,
                -3,
                2**63,
                True,
                False,
                None,
                "5",
                self._random.choice(_WORDS),
                [1, "a", None],
                {"a": {"b": []}},
            )
        )

    def _mark(self) -> str:
        self._count += 1
        return f"{self._writer}:{self._count} {self._random.choice(_WORDS)}"

    def _key(self) -> str | None:
        if self._random.random() > 0.3:
            return None
        self._keys += 1
        return f"key-{self._writer}-{self._keys}"


def _native_body(event: Event) -> bytes:
    said: dict[str, Any] = {"request_id": event.request_id, "op": event.op}
    said |= {
        name: value for name, value in (("data", event.data), ("request", event.request)) if value is not None
    }
    return json.dumps(said).encode()
