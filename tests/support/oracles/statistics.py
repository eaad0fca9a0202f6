"""What statistics mean, said in Python over the documents of rows: the oracle of `/v1/stats`.

It goes row by row and group by group, and knows nothing of the service's own code.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.oracles import typed_columns as typed
from tests.support.oracles.filters import Row

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Plain:
    """What is asked for, as a reader says it."""

    by: tuple[str, ...]
    measure: str = "rating"
    time: str = "last_received_at"
    zone: str = "UTC"
    order: str = "-requests"
    limit: int = 100


def plain_stats(rows: Iterable[Row], asked: Plain, spans: Mapping[int, tuple[datetime, datetime]]) -> Any:
    """Return the total, the groups and the rest; `spans` has the periods: 0 the current, 1 the previous."""
    members: dict[tuple[Any, ...], dict[Any, list[Row]]] = defaultdict(lambda: defaultdict(list))
    all_of: dict[int, list[Row]] = defaultdict(list)
    undated = 0
    for row in rows:
        moment = _moment(row, asked.time)
        undated += moment is None
        for period, (start, end) in spans.items():
            if moment is None or not start <= moment < end:
                continue
            all_of[period].append(row)
            laid_over = moment + (spans[0][0] - spans[period][0])
            for name in product(*(_groups(row, one) for one in asked.by if one not in BUCKETS)):
                members[name][period, _bucket(laid_over, asked)].append(row)
    ranked = sorted(members, key=lambda name: _rank(name, members[name], asked))
    kept, left_out = ranked[: asked.limit], ranked[asked.limit :]
    return {
        "total": _compared(all_of[0], all_of[1], asked, spans),
        "groups": _listed([(name, members[name]) for name in kept], asked, spans),
        "rest": _listed([((), _joined([members[name] for name in left_out]))], asked, spans),
        "groups_left_out": len(left_out),
        "undated": undated,
    }


def _listed(named: Iterable[tuple[tuple[Any, ...], Any]], asked: Plain, spans: Any) -> list[Any]:
    """Return the groups by time, then in the order of their names."""
    if not asked.by:
        return []
    found = []
    for place, (name, cells) in enumerate(named):
        for bucket in {bucket for _, bucket in cells}:
            figures = _compared(cells.get((0, bucket), []), cells.get((1, bucket), []), asked, spans)
            found.append((str(bucket), place, {"key": _key(name, bucket, asked), **figures}))
    return [figures for _, _, figures in sorted(found, key=lambda one: one[:2])]


def _joined(many: Iterable[Mapping[Any, list[Row]]]) -> dict[Any, list[Row]]:
    joined: dict[Any, list[Row]] = defaultdict(list)
    for cells in many:
        for cell, rows in cells.items():
            joined[cell] += rows
    return joined


def _key(name: tuple[Any, ...], bucket: Any, asked: Plain) -> dict[str, Any]:
    parts = iter(name)
    key = {}
    for one in asked.by:
        if one in BUCKETS:
            key[one] = bucket
        elif name:
            key[one] = next(parts)
    return key


def _rank(name: tuple[Any, ...], cells: Mapping[Any, list[Row]], asked: Plain) -> Any:
    texts = [(part or "").encode() for part in name]
    way = asked.order.removeprefix("-")
    if way == "key":
        return [_turned(text) if asked.order[0] == "-" else text for text in texts]
    here = [row for (period, _), rows in cells.items() if period == 0 for row in rows]
    figures = _figures(here, asked)
    value = figures[way]["value"] if way in ("share", "average") and figures[way] else figures[way]
    signed = 0 if value is None else -value if asked.order[0] == "-" else value
    return (not here, value is None, signed, texts)


def _turned(text: bytes) -> bytes:
    """Return what sorts the other way round."""
    return bytes(255 - byte for byte in text) + b"\xff" * 99


def _compared(current: list[Row], previous: list[Row], asked: Plain, spans: Any) -> dict[str, Any]:
    return _figures(current, asked) | {"previous": _figures(previous, asked) if 1 in spans else None}


def _figures(rows: list[Row], asked: Plain) -> dict[str, Any]:
    moods = [typed.sentiment(row["data"]) for row in rows]
    values = [_value(row, asked.measure) for row in rows]
    numbers = [value for value in values if isinstance(value, float)]
    return {
        "requests": len(rows),
        "with_feedback": sum(bool(row["data"]) for row in rows),
        "rated": sum(typed.rating(row["data"]) is not None for row in rows),
        "positive": moods.count("positive"),
        "neutral": moods.count("neutral"),
        "negative": moods.count("negative"),
        "share": _share(moods.count("positive"), len(moods) - moods.count("")),
        "average": _average(numbers),
        "not_numbers": None if asked.measure in COLUMNS else sum(value == "other" for value in values),
    }


def _share(hits: int, n: int) -> Any:
    """Wilson's interval as the roots of its quadratic equation, which is its definition."""
    if n == 0:
        return None
    z = statistics.NormalDist().inv_cdf(0.975)
    a, b, c = 1 + z * z / n, -2 * hits / n - z * z / n, (hits / n) ** 2
    root = max(0.0, b * b - 4 * a * c) ** 0.5
    return {"value": hits / n, "low": (-b - root) / (2 * a), "high": (-b + root) / (2 * a), "n": n}


def _average(numbers: list[float]) -> Any:
    if not numbers:
        return None
    return {"value": sum(numbers) / len(numbers), "spread": statistics.pstdev(numbers), "n": len(numbers)}


COLUMNS: dict[str, Callable[[Row], float | None]] = {
    "rating": lambda row: typed.rating(row["data"]),
    "request.latency_ms": lambda row: typed.number(typed.text(row["request"].get("latency_ms"))),
}


def _value(row: Row, measure: str) -> float | str | None:
    """Return the number, `other` for what is none, and None for nothing."""
    if measure in COLUMNS:
        return COLUMNS[measure](row)
    part, _, key = measure.partition(".")
    value = row[part].get(key)
    if isinstance(value, int | float):
        return float(value)
    return None if value is None else "other"


BUCKETS: dict[str, Callable[[datetime], str]] = {
    "hour": lambda moment: moment.replace(minute=0).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:00Z"),
    "day": lambda moment: moment.date().isoformat(),
    "week": lambda moment: (moment.date() - timedelta(days=moment.weekday())).isoformat(),
    "month": lambda moment: moment.date().replace(day=1).isoformat(),
}


def _bucket(moment: datetime, asked: Plain) -> Any:
    unit = next((one for one in asked.by if one in BUCKETS), None)
    return BUCKETS[unit](moment.astimezone(ZoneInfo(asked.zone))) if unit else 0


def _moment(row: Row, time: str) -> datetime | None:
    text = row["request"].get("started_at") if time == "started_at" else row[time]
    return None if text is None else datetime.fromisoformat(text)


def _groups(row: Row, name: str) -> list[str | None]:
    """Return the groups that a row is in; None is that of those without a value."""
    if name == "tag":
        return list(dict.fromkeys(typed.tags(row["data"]))) or [None]
    if name == "source":
        return list(row["sources"])
    return [_texts[name](row) or None]


def _of_key(part: str, key: str) -> Callable[[Row], str]:
    return lambda row: typed.text(row[part].get(key))


_texts: dict[str, Callable[[Row], str]] = {
    "vote": lambda row: typed.vote(row["data"]),
    "sentiment": lambda row: typed.sentiment(row["data"]),
    "model": _of_key("request", "model"),
    "request.model": _of_key("request", "model"),
    "provider": _of_key("request", "provider"),
    "dataset": _of_key("request", "dataset"),
    "data.kind": _of_key("data", "kind"),
    "user_id": lambda row: (
        typed.text(row["data"].get("user_id")) or typed.text(row["request"].get("user_id"))
    ),
}
