"""Answers of several models, judged twice: a load whose result in SQL is known exactly.

As in public evaluations, a second judge overwrites what the first one said, and the facts of a request come
before, between or after the judges.
"""

import gzip
import json
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

WIN_RATES = """
    SELECT model, 100 * (avg(JSONExtractFloat(data, 'preference')) - 1) AS win_rate, count() AS answers
    FROM feedback
    WHERE startsWith(request_id, {prefix:String}) AND JSONHas(data, 'preference') AND model != ''
    GROUP BY model ORDER BY model
"""


class Judged(NamedTuple):
    """Events in the order of sending, and what must come of them."""

    events: list[dict[str, Any]]
    rows: dict[str, tuple[dict[str, Any], dict[str, Any]]]
    win_rates: dict[str, tuple[Fraction, int]]


def judged(prefix: str, models: int, questions: int, seed: int = 1) -> Judged:
    """Return the answers of so many models to so many questions, in a random order."""
    random = Random(seed)
    placed: list[tuple[float, dict[str, Any]]] = []
    rows: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    preferences: dict[str, list[Fraction]] = defaultdict(list)
    for model in range(models):
        for question in range(questions):
            request_id = f"{prefix}-{model}-{question}"
            facts, first, second = _facts(model, question), _first(random), _second(random, model)
            earlier, later = sorted((random.random(), random.random()))
            placed += [
                (random.random(), {"request_id": request_id, "request": facts}),
                (earlier, {"request_id": request_id, "data": first}),
                (later, {"request_id": request_id, "data": second}),
            ]
            rows[request_id] = ({**first, **second}, facts)
            preferences[facts["model"]].append(Fraction(second["preference"]))
    placed.sort(key=lambda place: place[0])
    rates = {
        model: (100 * (sum(said, Fraction()) / len(said) - 1), len(said))
        for model, said in preferences.items()
    }
    return Judged([event for _, event in placed], rows, rates)


def _facts(model: int, question: int) -> dict[str, Any]:
    return {"model": f"model-{model}", "prompt": f"Question {question}?", "latency_ms": 100.5 + question}


def _first(random: Random) -> dict[str, Any]:
    said = random.choice((1.0, 1.5, 2.0))
    return {"preference": said, "judge": "first", "first_judge_preference": said}


def _second(random: Random, model: int) -> dict[str, Any]:
    said = round(1 + random.betavariate(1 + model, 3), 10)
    return {"preference": said, "judge": "second", "rating": "positive" if said > 1.5 else "negative"}


def write(events: list[dict[str, Any]], path: Path) -> Path:
    """Write the events as packed NDJSON."""
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return path
