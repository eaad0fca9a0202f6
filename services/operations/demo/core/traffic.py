"""Invented traffic: who asks what, who votes, and who thinks better of it.

Pure, and the same for the same seed and time: randomness comes from the seed alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from services.operations.demo.core.vocabulary import (
    BAD_TAGS,
    CHANGES_OF_MIND,
    COMPLAINTS,
    GOOD_TAGS,
    MODELS,
    PRAISE,
    TOPICS,
    Model,
    Topic,
)

GENERATED_BY = "afterword demo"

VOTE = "vote"
COMMENT = "comment"
FACTS = "request facts"
LATE_FACTS = "late request facts"
LATE_VOTE = "late vote"
CHANGED_MIND = "changed mind"
REPEAT = "double click"
RETRACTED = "retracted"
JUDGED = "judge"
KINDS = (FACTS, LATE_FACTS, VOTE, LATE_VOTE, CHANGED_MIND, COMMENT, REPEAT, RETRACTED, JUDGED)


@dataclass(frozen=True)
class Call:
    """One HTTP request of the demo, `after` so many seconds from the start."""

    after: float
    kind: str
    request_id: str
    method: str
    path: str
    body: dict[str, Any] | None = None


@dataclass(frozen=True)
class Asked:
    """A question to a model, `at` seconds from the start, and whether its answer was any good."""

    request_id: str
    at: float
    model: Model
    topic: Topic
    user_id: str
    pleased: bool


CALLS_A_CONVERSATION = 1.94
"""On average, so that questions can be spread to give the rate that was asked for."""


def traffic(seed: int, now: datetime, rate: float = 1.0) -> Iterator[Call]:
    """Yield calls without end, in the order of time, `rate` a second on average.

    `now` is when they begin.  A faster demo is the same one, run faster: delays shrink as well.
    """
    random = Random(seed)  # noqa: S311 (lifelike, not secret)
    waiting: list[tuple[float, int, Call]] = []
    numbers = count()
    at = 0.0
    for number in count():
        at += random.expovariate(rate / CALLS_A_CONVERSATION)
        while waiting and waiting[0][0] <= at:
            yield heappop(waiting)[2]
        for call in Conversation(
            random, _asked(random, f"demo-{seed:x}-{number:06d}", at), now, rate
        ).calls():
            heappush(waiting, (call.after, next(numbers), call))


def _asked(random: Random, request_id: str, at: float) -> Asked:
    model = random.choices(MODELS, weights=[model.share for model in MODELS])[0]
    return Asked(
        request_id=request_id,
        at=at,
        model=model,
        topic=random.choice(TOPICS),
        user_id=f"demo-user-{int(random.paretovariate(0.9)) % 200:03d}",
        pleased=random.random() < model.quality,
    )


@dataclass
class Conversation:
    """Writes down everything that is ever sent about one question."""

    random: Random
    asked: Asked
    now: datetime
    rate: float
    _calls: list[Call] = field(default_factory=list)

    def calls(self) -> list[Call]:
        """Return the calls about this question, in the order of time."""
        self._facts()
        if self._chance(0.65):
            self._opinion()
        if self._chance(0.15):
            self._judge()
        return sorted(self._calls, key=lambda call: call.after)

    def _chance(self, part: float) -> bool:
        return self.random.random() < part

    def _facts(self) -> None:
        """The request's own facts: at once, after the feedback, or never."""
        lot = self.random.random()
        if lot < 0.05:
            return
        kind, delay = (LATE_FACTS, self.random.uniform(60, 200)) if lot < 0.20 else (FACTS, 0.0)
        self._add(delay, kind, "PUT", f"/v1/requests/{self.asked.request_id}", self._request())

    def _request(self) -> dict[str, Any]:
        asked, random = self.asked, self.random
        prompt, completion = random.randint(12, 900), int(random.lognormvariate(5.2, 0.8)) + 1
        return {
            "model": asked.model.name,
            "provider": asked.model.provider,
            "status": "ok" if self._chance(0.97) else "cut_off",
            "started_at": _instant(self.now, asked.at),
            "latency_ms": round(asked.model.latency_ms * random.lognormvariate(0, 0.35), 1),
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cost_usd": round((prompt + completion) / 1000 * asked.model.usd_per_1k_tokens, 6),
            "prompt": asked.topic.prompt,
            "response": asked.topic.response,
            "user_id": asked.user_id,
            "session_id": f"demo-session-{asked.user_id[-3:]}-{int(asked.at * self.rate // 600)}",
            "generated_by": GENERATED_BY,
        }

    def _opinion(self) -> None:
        late = self._chance(0.15)
        delay = self.random.uniform(150, 400) if late else self.random.uniform(1, 40)
        kind = LATE_VOTE if late else VOTE
        write = self.random.choices((self._requesty, self._gptboost, self._native), weights=(5, 4, 1))[0]
        write(delay, kind, pleased=self.asked.pleased, comment=self._comment())
        self._second_thoughts(write, delay)

    def _comment(self) -> str | None:
        return self.random.choice(PRAISE if self.asked.pleased else COMPLAINTS) if self._chance(0.4) else None

    def _second_thoughts(self, write: Callable[..., None], voted: float) -> None:
        lot = self.random.random()
        later = voted + self.random.uniform(15, 120)
        if lot < 0.12:
            comment = self.random.choice(CHANGES_OF_MIND) if self._chance(0.7) else None
            write(later, CHANGED_MIND, pleased=not self.asked.pleased, comment=comment)
        elif lot < 0.20:
            self._requesty_data(later, COMMENT, {"message": self.random.choice(PRAISE + COMPLAINTS)})
        elif lot < 0.24:
            vote = self._calls[-1]
            self._add(voted + 0.4, REPEAT, vote.method, vote.path, vote.body)
        elif lot < 0.28:
            self._add(later, RETRACTED, "DELETE", f"/feedback/{self.asked.request_id}")
            if self._chance(0.4):
                write(later + 20, VOTE, pleased=not self.asked.pleased, comment=None)

    def _requesty(self, delay: float, kind: str, *, pleased: bool, comment: str | None) -> None:
        data: dict[str, Any] = {
            "rating": self.random.choice((4, 5) if pleased else (1, 2, 2, 3)),
            "helpful": pleased,
            "user_id": self.asked.user_id,
            "tags": [self.asked.topic.tag, self.random.choice(GOOD_TAGS if pleased else BAD_TAGS)],
        }
        self._requesty_data(delay, kind, data | ({"message": comment} if comment else {}))

    def _requesty_data(self, delay: float, kind: str, data: dict[str, Any]) -> None:
        self._add(delay, kind, "POST", f"/feedback/{self.asked.request_id}", {"data": data})

    def _gptboost(self, delay: float, kind: str, *, pleased: bool, comment: str | None) -> None:
        rating = "negative" if not pleased else "amazing" if self._chance(0.25) else "positive"
        body = {
            "message_id": self.asked.request_id,
            "rating": rating,
            "comment": comment or "",
            "tags": [self.asked.topic.tag] if self._chance(0.6) else [],
        }
        self._add(delay, kind, "POST", "/v1/feedback/", body)

    def _native(self, delay: float, kind: str, *, pleased: bool, comment: str | None) -> None:
        data = {
            "rating": "positive" if pleased else "negative",
            "user_id": self.asked.user_id,
            "comment": comment,
        }
        self._event(delay, kind, {name: value for name, value in data.items() if value is not None})

    def _judge(self) -> None:
        score = min(1.0, max(0.0, self.random.gauss(0.8 if self.asked.pleased else 0.35, 0.15)))
        self._event(
            self.random.uniform(5, 90), JUDGED, {"judge": "demo-judge", "judge_score": round(score, 3)}
        )

    def _event(self, delay: float, kind: str, data: dict[str, Any]) -> None:
        self._add(delay, kind, "POST", "/v1/events", {"request_id": self.asked.request_id, "data": data})

    def _add(
        self, delay: float, kind: str, method: str, path: str, body: dict[str, Any] | None = None
    ) -> None:
        after = self.asked.at + delay / self.rate
        self._calls.append(Call(after, kind, self.asked.request_id, method, path, body))


def _instant(now: datetime, after: float) -> str:
    return (now + timedelta(seconds=after)).astimezone(UTC).isoformat(timespec="milliseconds")
