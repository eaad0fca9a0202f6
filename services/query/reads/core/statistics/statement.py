"""The SELECT of statistics: it reads the rows of both periods once, and only the columns needed.

From the inside out:

1. group rows by the dimensions, by time, and by period;
2. rank the names over all times by the requested order;
3. keep the names within the limit, and sum up the others for each time group.

A row that belongs to multiple groups (tags) counts once in the total, which is a group of its own.  Variances
are passed on as states of the aggregate function, so that merging them is exact.
"""

from datetime import timedelta

from services.query.reads.core.sql import moment, where
from services.query.reads.core.statistics.question import MAX_GROUPS, MAX_NAME, StatsQuery
from services.runtime.clickhouse.core.statement import SqlParameters, Statement

CURRENT, PREVIOUS, UNDATED = 0, 1, 2
"""The period of a row; UNDATED: the time of the request is unknown."""

TOTAL = 0
"""The `place` of the rows that count every request once, where groups may share requests."""

COUNTS = ("requests", "with_feedback", "rated", "positive", "neutral", "negative", "n", "not_numbers")
"""Columns of the result that can be summed."""

_TIME = "DateTime64(6, 'UTC')"
_MICROSECOND = timedelta(microseconds=1)


def statement(question: StatsQuery) -> Statement:
    """Return the SELECT.

    Its columns: `place` (the rank of the name, limit + 1 for all others, 0 for the total),
    `k0`, `k1` (the names of its group), `bucket`, `period`, COUNTS, `total` (the sum of the measure),
    `spread` (its variance), `names` (how many names there are without a limit).
    """
    places = SqlParameters()
    parts = ", ".join(f"part.{number} AS {name}" for number, name in enumerate(_PARTS, 1))
    sums = ", ".join(f"sum({name}) AS {name}" for name in (*COUNTS, "total"))
    keys = "".join(f", substringUTF8(any({key}), 1, {MAX_NAME}) AS {key}" for key in _keys(question))
    sql = (
        f"SELECT place{keys}, bucket, period, {sums}, varPopStableMerge(state) AS spread, "
        "any(all_names) AS names "
        f"FROM (SELECT least(own_place, {question.limit + 1}) AS place, all_names, "
        f"{''.join(f'{key}, ' for key in _keys(question))}{parts} "
        f"FROM ({_placed(question, places)}) ARRAY JOIN parts AS part) "
        f"GROUP BY place, bucket, period ORDER BY place, bucket, period LIMIT {MAX_GROUPS + 1}"
    )
    return Statement(sql, places.parameters)


_PARTS = ("bucket", "period", *COUNTS, "total", "state")


def _placed(question: StatsQuery, places: SqlParameters) -> str:
    """Return step 2: one row per name, with its rank and its groups."""
    keys = ", ".join(["is_total", *_keys(question)])
    window = f"(PARTITION BY is_total ORDER BY {_order(question)})"
    return (
        f"SELECT {keys}, groupArray(({', '.join(_PARTS)})) AS parts, "
        f"if(is_total, {TOTAL}, row_number() OVER {window}) AS own_place, "
        f"max(NOT is_total AND period != {UNDATED}) AS is_name, sum(is_name) OVER () AS all_names "
        f"FROM ({_grouped(question, places)}) GROUP BY {keys}"
    )


def _order(question: StatsQuery) -> str:
    """Return the ORDER BY clause: names without requests in the period come last."""
    dated = f"countIf(period != {UNDATED}) = 0"
    direction = "DESC" if question.order.startswith("-") else "ASC"
    name = question.order.removeprefix("-")
    keys = ", ".join(f"{key} {direction if name == 'key' else 'ASC'}" for key in _keys(question)) or "1"
    if name == "key":
        return f"{dated}, {keys}"
    here = f"period = {CURRENT}"
    value = {
        "share": _ratio(f"sumIf(positive, {here})", f"sumIf(positive + neutral + negative, {here})"),
        "average": _ratio(f"sumIf(total, {here})", f"sumIf(n, {here})"),
    }.get(name, f"sumIf({name}, {here})")
    return f"{dated}, countIf({here}) = 0, {value} {direction} NULLS LAST, {keys}"


def _ratio(part: str, whole: str) -> str:
    return f"if({whole} = 0, NULL, {part} / {whole})"


def _grouped(question: StatsQuery, places: SqlParameters) -> str:
    """Return step 1: group rows."""
    keys = ["is_total", *_keys(question), "bucket", "period"]
    return (
        f"SELECT {', '.join(keys)}, count() AS requests, countIf(has_feedback) AS with_feedback, "
        "count(rating) AS rated, countIf(sentiment = 'positive') AS positive, "
        "countIf(sentiment = 'neutral') AS neutral, countIf(sentiment = 'negative') AS negative, "
        "count(value) AS n, countIf(is_other) AS not_numbers, sum(value) AS total, "
        "varPopStableState(value) AS state "
        f"FROM ({_rows(question, places)}) GROUP BY {', '.join(keys)}"
    )


def _rows(question: StatsQuery, places: SqlParameters) -> str:
    """Return the rows of both periods, one for each group that a row belongs to."""
    condition = where(question.tenant, question.filters, places).sql
    period, within = _period(question, places)
    named = "".join(
        f", {_name(one.sql(places), is_list=one.is_list)} AS k{n}" for n, one in enumerate(question.names)
    )
    return (
        f"SELECT {'arrayJoin([0, 1])' if question.has_lists else '0'} AS is_total{named}, "
        f"{period} AS period, {_bucket(question, places)} AS bucket, has_feedback, "
        f"rating, sentiment, toFloat64({question.measure.value(places)}) AS value, "
        f"{question.measure.is_other(places)} AS is_other "
        f"FROM feedback_state FINAL WHERE {condition} AND ({within})"
    )


def _name(sql: str, *, is_list: bool) -> str:
    if is_list:
        return f"arrayJoin(if(is_total OR empty({sql}), [''], arrayDistinct({sql})))"
    return sql


def _period(question: StatsQuery, places: SqlParameters) -> tuple[str, str]:
    """Return the expression of a row's period, and the condition of rows in one."""
    time, current, previous = question.time, question.periods.current, question.periods.previous
    start, end = (places.place(moment(one), _TIME) for one in (current.start, current.end))
    within = f"{time} >= {start} AND {time} < {end}"
    if previous is not None:
        first, last = (places.place(moment(one), _TIME) for one in (previous.start, previous.end))
        within = f"{time} >= {first} AND {time} < {end} AND ({time} < {last} OR {time} >= {start})"
    period = f"if({time} >= {start}, {CURRENT}, {PREVIOUS})"
    if time == "started_at":
        return f"if(isNull({time}), {UNDATED}, {period})", f"{within} OR isNull({time})"
    return period, within


def _bucket(question: StatsQuery, places: SqlParameters) -> str:
    """Return the expression of the time group of a row; the previous period is shifted onto this one."""
    if question.unit is None:
        return "0"
    micros = question.periods.shift // _MICROSECOND
    time = f"assumeNotNull({question.time})"
    shifted = f"addMicroseconds({time}, if(period = {PREVIOUS}, {places.place(micros, 'Int64')}, 0))"
    zone = places.place(question.zone, "String")
    # A type of 32 bits begins with 1970, whose first hours are in 1969 west of Greenwich.
    return {
        "hour": f"toDateTime64(toStartOfHour({shifted}, {zone}), 0, 'UTC')",
        "day": f"toDate32({shifted}, {zone})",
        "week": f"toStartOfWeek({shifted}, 1, {zone})",
        "month": f"toStartOfMonth({shifted}, {zone})",
    }[question.unit]


def _keys(question: StatsQuery) -> list[str]:
    return [f"k{number}" for number in range(len(question.names))]
