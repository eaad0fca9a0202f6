"""The typed columns, computed by ClickHouse, are what Python says of the same feedback."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import orjson
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.tables import FEEDBACK, FEEDBACK_STATE
from services.ingest.core.event import column_warnings
from services.runtime.clickhouse.client import INSERT_SETTINGS
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, state_row
from tests.support.oracles import typed_columns as oracle

UTF8 = st.characters(codec="utf-8")
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ODD = st.sampled_from(
    [
        "amazing", "POSITIVE", " negative ", "\tTrue\n", "false", "bad", "", "null", "NaN", "inf", "-inf",
        "Infinity", "0x10", "1e400", "-1e400", "5.", "+5", ".5", "05", "1_000", "\uff15", "4.5", "-0", "1E5",
        "1e-05", "0.30000000000000004", "18446744073709551616", "1e308", "9" * 400, "1e", "--5", "[5]", '"5"',
        "5\x00", "5\n5", "\u00a05", "\uff34\uff32\uff35\uff25", "true\u017f",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    FINITE,
    st.text(UTF8, max_size=6),
    ODD,
    FINITE.map(repr),
    st.integers().map(str),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(UTF8, min_size=1, max_size=3), inner, max_size=3),
    ),
    max_leaves=5,
)
MOMENTS = st.datetimes(datetime(1969, 12, 31), datetime(2100, 1, 1, 23)).map(  # noqa: DTZ001
    lambda moment: moment.isoformat(timespec="auto")
)
ZONES = st.sampled_from(
    ["", "Z", "z", "+05:30", "-23:59", "+0100", "-01", "+00", " +0100", " UTC", "+24:00", "+01:00:30"]
)
ISO = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["1969", "1970", "2026", "2099", "2100", "0001", "9999"]),
        st.sampled_from(["-01-01", "-02-29", "-12-31", "-00-10", "-13-01", "-06-00", "-04-31"]),
        st.sampled_from(["T", " ", "t", "", "x"]),
        st.sampled_from(["00", "23", "24", "7"]),
        st.sampled_from([":00", ":59", ":60", ""]),
        st.sampled_from([":00", ":59", ":60", ":61", ""]),
        st.sampled_from(["", ".5", ",123456", ".123456789", ".000", "."]),
        ZONES,
    ),
)
INSTANTS = st.one_of(
    st.tuples(MOMENTS, ZONES).map("".join),
    ISO,
    *(st.integers(0, 10**digits) for digits in (11, 14, 17, 20)),
    *(st.floats(0, 10.0**digits) for digits in (11, 14, 19)),
    st.integers(0, 10**20).map(str),
    st.floats(0, 1e11).map("{:.9f}".format),
    st.sampled_from(
        [
            "2024-02-30", "2023-02-29", "2024-02-29T10:00Z", "2024-01-01T24:00", "2024-01-01T24:00:01",
            "20240101", "2024-01-01 10:00:00.1234567891Z", "2024-01-01T10:00:60Z", "2024-01-01T10:00:00+5",
            "10:00", "0",
            "2024-01-01T10:00:00.Z", "2024-01-01T23-08:00", "2024-01-01T24", "99999999999", "100000000000",
            "4102444799.9999999", "4102444800", "4102444799999", 4102444799999999999, "1e400", "-1",
            "9223372036854775807", "9223372036854775808", "2024-01-01T10:00:00Z\n", "2024-01-01T10:00Z\x00",
        ]
    ),
    SCALARS,
)  # fmt: skip
FEEDBACKS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("rating", "comment", "message", "helpful", "user_id", "tags", "x"), VALUES)
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("model", "provider", "latency_ms", "cost_usd", "user_id"), VALUES),
        "started_at": INSTANTS,
    },
)


@pytest.fixture
async def tables(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """Make the tables in a database of this test's own."""
    await create_tables(clickhouse_settings)
    return clickhouse_settings


@pytest.fixture
def client(tables: ClickHouseSettings) -> Iterator[Client]:
    """Connect without an event loop, as Hypothesis needs it."""
    url = urlsplit(tables.clickhouse_url)
    with clickhouse_connect.get_client(
        host=url.hostname,
        port=url.port or 8123,
        username=tables.clickhouse_user,
        password=tables.clickhouse_password.get_secret_value(),
        database=tables.clickhouse_database,
        autogenerate_session_id=False,
    ) as client:
        yield client


def computed(client: Client, documents: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Store one row for each pair of `data` and `request`, and return what ClickHouse makes of them."""
    client.command(f"TRUNCATE TABLE {FEEDBACK_STATE}")
    lines = [
        orjson.dumps(state_row(f"{number:04}", number, data=data, request=request))
        for number, (data, request) in enumerate(documents)
    ]
    client.raw_insert(
        FEEDBACK_STATE, None, b"\n".join(lines), settings=dict(INSERT_SETTINGS), fmt="JSONEachRow"
    )
    return list(client.query(f"SELECT * FROM {FEEDBACK} ORDER BY request_id").named_results())


def expected(data: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Return the typed columns of one row."""
    moment = oracle.started_at(request)
    return {
        "rating": oracle.rating(data),
        "vote": oracle.vote(data),
        "sentiment": oracle.sentiment(data),
        "helpful": oracle.helpful(data),
        "latency_ms": oracle.number(oracle.text(request.get("latency_ms"))),
        "cost_usd": oracle.number(oracle.text(request.get("cost_usd"))),
        # clickhouse-connect returns UTC without saying so.
        "started_at": moment and moment.astimezone(UTC).replace(tzinfo=None),
    }


def same(seen: str, value: Any) -> bool:
    """Return whether a text column shows the value; two writers of JSON may write one number differently."""
    if isinstance(value, str) or value is None:
        return seen == oracle.text(value)
    return bool(_rounded(orjson.loads(seen)) == _rounded(value))


def _rounded(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [_rounded(one) for one in value]
        case dict():
            return {name: _rounded(one) for name, one in value.items()}
    return value


@settings(
    max_examples=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.too_slow,
    ],
)
@given(documents=st.lists(st.tuples(FEEDBACKS, REQUESTS), min_size=1, max_size=60))
def test_clickhouse_and_python_agree(
    client: Client, documents: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    """Whatever JSON ingest may let through, it is stored, and each column holds what its comment says."""
    found = computed(client, documents)

    assert len(found) == len(documents)
    for row, (data, request) in zip(found, documents, strict=True):
        wanted = expected(data, request)
        assert {name: row[name] for name in wanted} == wanted
        assert row["unread"] == [warning["key"] for warning in column_warnings(request)]
        assert orjson.loads(row["data"]) == data
        assert orjson.loads(row["request"]) == request
        assert same(row["model"], request.get("model"))
        assert same(row["provider"], request.get("provider"))
        assert same(row["comment"], _first(data.get("comment"), data.get("message")))
        assert same(row["user_id"], _first(data.get("user_id"), request.get("user_id")))
        items = [one for one in data["tags"] if one not in (None, "")] if _is_list(data.get("tags")) else []
        assert len(row["tags"]) == len(items)
        assert all(map(same, row["tags"], items))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _first(*values: Any) -> Any:
    return next((value for value in values if oracle.text(value) != ""), None)


CASES: list[tuple[Any, float | None, str, str]] = [
    # rating in the feedback, column rating, vote, sentiment
    (5, 5.0, "", "positive"),
    (1, 1.0, "", "negative"),
    (3, 3.0, "", "neutral"),
    (2.5, 2.5, "", "neutral"),
    (4.5, 4.5, "", "positive"),
    ("5", 5.0, "", "positive"),
    (" 4.0 ", 4.0, "", "positive"),
    (0, 0.0, "", ""),
    (-1, -1.0, "", ""),
    (10, 10.0, "", ""),
    (0.30000000000000004, 0.30000000000000004, "", ""),
    (1e-05, 1e-05, "", ""),
    ("1e-05", 1e-05, "", ""),
    ("1E+2", 100.0, "", ""),
    (1.7976931348623157e308, 1.7976931348623157e308, "", ""),
    (5e-324, 5e-324, "", ""),
    (2**64 - 1, float(2**64 - 1), "", ""),
    (-(2**63), float(-(2**63)), "", ""),
    ("0.1000000000000000055511151231257827", 0.1, "", ""),
    ("amazing", 5.0, "amazing", "positive"),
    (" Amazing ", 5.0, "amazing", "positive"),
    ("positive", 4.0, "positive", "positive"),
    ("negative", 2.0, "negative", "negative"),
    (True, 5.0, "", "positive"),
    (False, 1.0, "", "negative"),
    ("true", 5.0, "", "positive"),
    ("FALSE", 1.0, "", "negative"),
    ("good", None, "", ""),
    ("", None, "", ""),
    (None, None, "", ""),
    ("NaN", None, "", ""),
    ("inf", None, "", ""),
    ("-Infinity", None, "", ""),
    ("0x10", None, "", ""),
    ("1e400", None, "", ""),
    ("9" * 400, None, "", ""),
    ("5.", None, "", ""),
    (".5", None, "", ""),
    ("+5", None, "", ""),
    ("05", None, "", ""),
    ("1,5", None, "", ""),
    ([5], None, "", ""),
    ([], None, "", ""),
    ({"value": 5}, None, "", ""),
    ({}, None, "", ""),
]


def test_ratings_of_every_kind(client: Client) -> None:
    """The table of cases that the documentation promises."""
    found = computed(client, [({"rating": value}, {}) for value, *_ in CASES])

    assert [(row["rating"], row["vote"], row["sentiment"]) for row in found] == [case[1:] for case in CASES]


def test_the_oracle_agrees_with_the_table_of_cases() -> None:
    """Else the property would only prove that two mistakes are the same."""
    for value, rating, vote, sentiment in CASES:
        data = {"rating": value}

        assert (oracle.rating(data), oracle.vote(data), oracle.sentiment(data)) == (rating, vote, sentiment)


EIGHT = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 (UTC, as clickhouse-connect returns it)
TIMES: list[tuple[Any, datetime | None]] = [
    # Python: isoformat() with its timespecs, str(), strftime("%z"), time.time(), time.time_ns()
    ("2026-01-02T03:04:05", EIGHT),
    ("2026-01-02T03:04:05.123456+00:00", EIGHT.replace(microsecond=123456)),
    ("2026-01-02 03:04:05.000007+00:00", EIGHT.replace(microsecond=7)),
    ("2026-01-02T03", EIGHT.replace(minute=0, second=0)),
    ("2026-01-02T03-05:00", EIGHT.replace(hour=8, minute=0, second=0)),
    ("2026-01-02T03:04+01:00", EIGHT.replace(hour=2, second=0)),
    ("2026-01-02", EIGHT.replace(hour=0, minute=0, second=0)),
    ("2026-01-02T04:04:05+0100", EIGHT),
    (1767323045.123456, EIGHT.replace(microsecond=123456)),
    (1767323045123456789, EIGHT.replace(microsecond=123456)),
    # Go, by its layout for nanoseconds
    ("2026-01-02T03:04:05.999999999Z", EIGHT.replace(microsecond=999999)),
    ("2026-01-02T02:34:05.1-00:30", EIGHT.replace(microsecond=100000)),
    # Java: Instant, OffsetDateTime without seconds, LocalDateTime, Instant as Jackson writes it
    ("2026-01-02T03:04:05.123Z", EIGHT.replace(microsecond=123000)),
    ("2026-01-02T04:04+01:00", EIGHT.replace(second=0)),
    ("2026-01-02T03:04", EIGHT.replace(second=0)),
    ("1767323045.123456789", EIGHT.replace(microsecond=123457)),
    # JavaScript: Date.now(), toISOString()
    (1767323045123, EIGHT.replace(microsecond=123000)),
    ("1767323045123456", EIGHT.replace(microsecond=123456)),
    ("2026-01-02t03:04:05.000z", EIGHT),
    # Others of ISO 8601, of databases and of shells
    ("2026-01-02T03:04:05,5Z", EIGHT.replace(microsecond=500000)),
    ("2026-01-02 02:04:05-01", EIGHT),
    ("2026-01-02 03:04:05 UTC", EIGHT),
    ("2026-01-02 04:04:05 +0100", EIGHT),
    ("2016-12-31T23:59:60Z", datetime(2017, 1, 1)),  # noqa: DTZ001
    ("2016-12-31T24:00:00Z", datetime(2017, 1, 1)),  # noqa: DTZ001
    # The ends of the range, and what is beside it
    (0, datetime(1970, 1, 1)),  # noqa: DTZ001
    ("1969-12-31T19:00:00-05:00", datetime(1970, 1, 1)),  # noqa: DTZ001
    ("1970-01-01T00:00:00+01:00", None),
    ("2099-12-31T23:59:59.999999Z", datetime(2099, 12, 31, 23, 59, 59, 999999)),  # noqa: DTZ001
    ("2099-12-31T23:00:00-01:00", None),
    (4102444800, None),
    (9999999999, None),
    (9999999999999, None),
    (-1, None),
    ("0001-01-01T00:00:00Z", None),
    ("9999-12-31T23:59:59Z", None),
    ("+010000-01-01T00:00:00Z", None),
    # What is no time
    ("2026-02-29", None),
    ("2026-01-02T24:00:01Z", None),
    ("2026-01-02T03:04:61Z", None),
    ("2026-01-02T03:04:05+24:00", None),
    ("Fri, 02 Jan 2026 03:04:05 GMT", None),
    ("2026-01-02T03:04:05+01:00[Europe/Berlin]", None),
    ("02/01/2026", None),
    ("yesterday", None),
    (True, None),
    ([2026, 1, 2], None),
    ({"seconds": 5}, None),
]


def test_times_of_every_form_that_clients_print(client: Client) -> None:
    """The table of cases that the documentation promises; the sender learns of each that is not read."""
    found = computed(client, [({}, {"started_at": value}) for value, _ in TIMES])

    assert [row["started_at"] for row in found] == [moment for _, moment in TIMES]
    for row, (value, moment) in zip(found, TIMES, strict=True):
        assert row["unread"] == ([] if moment else ["request.started_at"])
        assert bool(column_warnings({"started_at": value})) == (moment is None)


def test_no_value_is_no_warning(client: Client) -> None:
    """A null clears, and an empty text is what many clients send for nothing."""
    facts: list[dict[str, Any]] = [{}, dict.fromkeys(NAMED), dict.fromkeys(NAMED, "")]

    assert [row["unread"] for row in computed(client, [({}, fact) for fact in facts])] == [[], [], []]
    assert [column_warnings(fact) for fact in facts] == [[], [], []]


NAMED = ("started_at", "latency_ms", "cost_usd")


def test_a_key_that_is_absent_leaves_every_column_empty(client: Client) -> None:
    """Feedback without facts, and facts without feedback, are both whole rows."""
    (row,) = computed(client, [({}, {})])

    assert {name: row[name] for name in ("comment", "user_id", "tags", "model", "provider", "vote")} == {
        "comment": "", "user_id": "", "tags": [], "model": "", "provider": "", "vote": ""
    }  # fmt: skip
    assert {row[name] for name in ("rating", "helpful", "latency_ms", "cost_usd", "started_at")} == {None}
