"""Many lifelike rows, made by ClickHouse itself: a million takes it some ten seconds."""

from collections.abc import Iterator

from clickhouse_connect.driver.asyncclient import AsyncClient

LARGEST = "t0"
"""Has three requests of ten."""
SMALL = "t5"
"""Has one request of twenty."""
RARE_WORD = "zanzibar"
RARE_TAG = "escalated"

BATCH = 100_000
REPLACED = 0.3
"""How many requests get a later version, as a share; many of them among the newest."""

_TENANTS = "t0 t0 t0 t0 t0 t0 t1 t1 t1 t1 t2 t2 t2 t3 t3 t4 t5 t6 t7 t8"
_MODELS = "gpt-x gpt-x gpt-x gpt-y gpt-y claude llama mistral"
_TAGS = "clear wrong outdated short slow rude great billing legal medical"
_WORDS = (
    "the answer was right wrong too long short contract form date number old new invoice refund good bad "
    "clear never"
)
_RATINGS = """5|4|1|2|3|"positive"|"negative"|"amazing" """.strip()


async def fill(client: AsyncClient, rows: int, batch: int = BATCH) -> None:
    """Insert so many requests, and later versions of 30 %, into `feedback_state`, in batches as the sink.

    The events of the tenant SMALL are stored, too.
    """
    for statement in statements(rows, batch):
        await client.command(statement)


def statements(rows: int, batch: int = BATCH) -> Iterator[str]:
    """Yield the inserts, in order.  Revisions are below 2 * `rows`; request `n` is `request_id(n)`."""
    for first in range(0, rows, batch):
        count = min(batch, rows - first)
        yield _insert(count, f"number + {first}", f"number + {first}")
        known = first + count
        recent = f"{known} - 1 - cityHash64(number, {first}) % {min(known, 10 * batch)}"
        yield _insert(int(count * REPLACED), f"number + {rows + first}", f"toUInt64({recent})")
    yield (
        "INSERT INTO feedback_events (tenant, request_id, version, event_id, op, source, received_at,"
        " appended_at, data, request, log_partition, log_offset)"
        " SELECT tenant, request_id, version, generateUUIDv4(), 'merge', 'native', last_received_at,"
        f" last_received_at, data, request, 0, version FROM feedback_state WHERE tenant = '{SMALL}'"
    )


def request_id(number: str) -> str:
    """Return the expression of a request's id: random to the eye, as those of model APIs are."""
    return f"concat('chatcmpl-', lower(hex(sipHash128(toUInt64({number})))))"


def _one_of(texts: list[str], number: str) -> str:
    return f"arrayElement({texts!r}, 1 + ({number}) % {len(texts)})"


def _insert(count: int, revision: str, number: str) -> str:
    """Return the insert of one version each of some requests; a request's facts stay, feedback changes."""
    words = f"arrayMap(i -> {_one_of(_WORDS.split(), 'cityHash64(chance, i)')}, range(1 + chance % 12))"
    return f"""
        INSERT INTO feedback_state
            (revision, tenant, request_id, version, first_received_at, last_received_at, sources,
             data, request)
        WITH
            {revision} AS place, {number} AS id, cityHash64(id, 1) AS fact, cityHash64(id, place) AS chance,
            toDateTime64('2026-08-01 00:00:00', 6, 'UTC') + toIntervalMillisecond(id * 1700) AS first,
            arrayStringConcat({words}, ' ') AS text,
            concat(text, if(chance % 50021 = 1, ' {RARE_WORD}', '')) AS comment,
            {_one_of(_TAGS.split(), "intDiv(chance, 7)")} AS tag,
            {_one_of(_TAGS.split(), "intDiv(chance, 97)")} AS other,
            concat('["', tag, '","', other, if(chance % 50021 = 2, '","{RARE_TAG}', ''), '"]') AS tags
        SELECT
            place, {_one_of(_TENANTS.split(), "fact")}, {request_id("id")}, place,
            first, first + toIntervalSecond(if(place = id, 5, chance % 400000)), ['native'],
            if(chance % 10 < 3 AND chance % 50021 > 2, '{{}}', concat(
                '{{"rating":', {_one_of(_RATINGS.split("|"), "intDiv(chance, 10)")},
                if(chance % 3 = 0 OR chance % 50021 < 3, concat(',"comment":"', comment, '"'), ''),
                if(chance % 4 < 2 OR chance % 50021 < 3, concat(',"tags":', tags), ''),
                if(chance % 2 = 0, concat(',"user_id":"user_', toString(chance % 100000), '"'), ''), '}}')),
            if(fact % 100 = 7, '{{}}', concat(
                '{{"model":"', {_one_of(_MODELS.split(), "intDiv(fact, 100)")},
                '","provider":"', if(fact % 2 = 0, 'north', 'south'),
                '","latency_ms":', toString(100 + fact % 2000),
                ',"cost_usd":', toString(fact % 1000 / 100000), ',"session_id":"s', toString(fact % 1000000),
                '","started_at":"', formatDateTime(first, '%Y-%m-%dT%H:%i:%SZ'),
                '","prompt":"tell me about ', text, ' and ', text, '"}}'))
        FROM numbers({count})
    """
