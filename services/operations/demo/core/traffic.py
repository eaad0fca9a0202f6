"""Synthetic demo traffic: requests, votes, comments, changes and retractions.

Equal seeds and times give equal traffic: the seed is the only source of randomness.
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
    DemoModel,
    DemoTopic,
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
class DemoCall:
    """One HTTP request of the demo, `after` seconds from the start."""

    after: float
    kind: str
    request_id: str
    method: str
    path: str
    body: dict[str, Any] | None = None


@dataclass(frozen=True)
class DemoQuestion:
    """A question to a model, `at` seconds from the start; `pleased`: the answer was good."""

    request_id: str
    at: float
    model: DemoModel
    topic: DemoTopic
    user_id: str
    pleased: bool


CALLS_A_CONVERSATION = 1.94
"""On average; it converts the rate of calls to a rate of questions."""


def traffic(seed: int, now: datetime, rate: float = 1.0) -> Iterator[DemoCall]:
    """Yield endless calls in the order of time, on average `rate` per second, from `now` on.

    Delays within a conversation shrink with a higher rate.
    """
    random = Random(seed)  # noqa: S311 (not for secrets)
    waiting: list[tuple[float, int, DemoCall]] = []
    numbers = count()
    at = 0.0
    for number in count():
        at += random.expovariate(rate / CALLS_A_CONVERSATION)
        while waiting and waiting[0][0] <= at:
            yield heappop(waiting)[2]
        for call in Conversation(
            random, _question(random, f"demo-{seed:x}-{number:06d}", at), now, rate
        ).calls():
            heappush(waiting, (call.after, next(numbers), call))


def _question(random: Random, request_id: str, at: float) -> DemoQuestion:
    model = random.choices(MODELS, weights=[model.share for model in MODELS])[0]
    return DemoQuestion(
        request_id=request_id,
        at=at,
        model=model,
        topic=random.choice(TOPICS),
        user_id=f"demo-user-{int(random.paretovariate(0.9)) % 200:03d}",
        pleased=random.random() < model.quality,
    )


@dataclass
class Conversation:
    """Generates all calls about one question."""

    random: Random
    question: DemoQuestion
    now: datetime
    rate: float
    _calls: list[DemoCall] = field(default_factory=list)

    def calls(self) -> list[DemoCall]:
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
        """Add the request data: at once, after the feedback, or never."""
        lot = self.random.random()
        if lot < 0.05:
            return
        kind, delay = (LATE_FACTS, self.random.uniform(60, 200)) if lot < 0.20 else (FACTS, 0.0)
        self._add(delay, kind, "PUT", f"/v1/requests/{self.question.request_id}", self._request())

    def _request(self) -> dict[str, Any]:
        question, random = self.question, self.random
        prompt, completion = random.randint(12, 900), int(random.lognormvariate(5.2, 0.8)) + 1
        return {
            "model": question.model.name,
            "provider": question.model.provider,
            "status": "ok" if self._chance(0.97) else "cut_off",
            "started_at": _instant(self.now, question.at),
            "latency_ms": round(question.model.latency_ms * random.lognormvariate(0, 0.35), 1),
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cost_usd": round((prompt + completion) / 1000 * question.model.usd_per_1k_tokens, 6),
            "prompt": question.topic.prompt,
            "response": question.topic.response,
            "user_id": question.user_id,
            "session_id": f"demo-session-{question.user_id[-3:]}-{int(question.at * self.rate // 600)}",
            "generated_by": GENERATED_BY,
        }

    def _opinion(self) -> None:
        late = self._chance(0.15)
        delay = self.random.uniform(150, 400) if late else self.random.uniform(1, 40)
        kind = LATE_VOTE if late else VOTE
        write = self.random.choices((self._requesty, self._gptboost, self._native), weights=(5, 4, 1))[0]
        write(delay, kind, pleased=self.question.pleased, comment=self._comment())
        self._second_thoughts(write, delay)

    def _comment(self) -> str | None:
        return (
            self.random.choice(PRAISE if self.question.pleased else COMPLAINTS) if self._chance(0.4) else None
        )

    def _second_thoughts(self, write: Callable[..., None], voted: float) -> None:
        lot = self.random.random()
        later = voted + self.random.uniform(15, 120)
        if lot < 0.12:
            comment = self.random.choice(CHANGES_OF_MIND) if self._chance(0.7) else None
            write(later, CHANGED_MIND, pleased=not self.question.pleased, comment=comment)
        elif lot < 0.20:
            self._requesty_data(later, COMMENT, {"message": self.random.choice(PRAISE + COMPLAINTS)})
        elif lot < 0.24:
            vote = self._calls[-1]
            self._add(voted + 0.4, REPEAT, vote.method, vote.path, vote.body)
        elif lot < 0.28:
            self._add(later, RETRACTED, "DELETE", f"/feedback/{self.question.request_id}")
            if self._chance(0.4):
                write(later + 20, VOTE, pleased=not self.question.pleased, comment=None)

    def _requesty(self, delay: float, kind: str, *, pleased: bool, comment: str | None) -> None:
        data: dict[str, Any] = {
            "rating": self.random.choice((4, 5) if pleased else (1, 2, 2, 3)),
            "helpful": pleased,
            "user_id": self.question.user_id,
            "tags": [self.question.topic.tag, self.random.choice(GOOD_TAGS if pleased else BAD_TAGS)],
        }
        self._requesty_data(delay, kind, data | ({"message": comment} if comment else {}))

    def _requesty_data(self, delay: float, kind: str, data: dict[str, Any]) -> None:
        self._add(delay, kind, "POST", f"/feedback/{self.question.request_id}", {"data": data})

    def _gptboost(self, delay: float, kind: str, *, pleased: bool, comment: str | None) -> None:
        rating = "negative" if not pleased else "amazing" if self._chance(0.25) else "positive"
        body = {
            "message_id": self.question.request_id,
            "rating": rating,
            "comment": comment or "",
            "tags": [self.question.topic.tag] if self._chance(0.6) else [],
        }
        self._add(delay, kind, "POST", "/v1/feedback/", body)

    def _native(self, delay: float, kind: str, *, pleased: bool, comment: str | None) -> None:
        data = {
            "rating": "positive" if pleased else "negative",
            "user_id": self.question.user_id,
            "comment": comment,
        }
        self._event(delay, kind, {name: value for name, value in data.items() if value is not None})

    def _judge(self) -> None:
        score = min(1.0, max(0.0, self.random.gauss(0.8 if self.question.pleased else 0.35, 0.15)))
        self._event(
            self.random.uniform(5, 90), JUDGED, {"judge": "demo-judge", "judge_score": round(score, 3)}
        )

    def _event(self, delay: float, kind: str, data: dict[str, Any]) -> None:
        self._add(delay, kind, "POST", "/v1/events", {"request_id": self.question.request_id, "data": data})

    def _add(
        self, delay: float, kind: str, method: str, path: str, body: dict[str, Any] | None = None
    ) -> None:
        after = self.question.at + delay / self.rate
        self._calls.append(DemoCall(after, kind, self.question.request_id, method, path, body))


def _instant(now: datetime, after: float) -> str:
    return (now + timedelta(seconds=after)).astimezone(UTC).isoformat(timespec="milliseconds")
