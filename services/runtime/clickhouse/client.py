"""The ClickHouse client, and the settings that every insert sends."""

from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient

from services.runtime.settings import ClickHouseSettings

INSERT_SETTINGS: dict[str, str] = {
    "async_insert": "0",
    "input_format_skip_unknown_fields": "1",
    "date_time_input_format": "best_effort",
    "input_format_json_read_objects_as_strings": "1",
    "optimize_on_insert": "0",
    "materialize_skip_indexes_on_insert": "0",
    "input_format_parallel_parsing": "0",
}
"""Sent with each insert: their defaults differ between releases, and `async_insert` is on in recent ones.

With `optimize_on_insert` the engine drops older rows of a key already while it inserts, and copies every row
for that, a quarter of an insert's time; queries use FINAL anyway, and merges drop them later.
Skip indexes are a fifth of an insert's time.  The first merge of a part makes them; until then it is read
without.  Parallel parsing has chunks larger than most inserts, and would only look for ends of rows first.
"""


async def connect(
    settings: ClickHouseSettings, *, database: str | None = None, timeout_seconds: float = 30.0
) -> AsyncClient:
    """Return a client; it raises clickhouse_connect's errors when the server does not answer.

    `database` None means the settings' one; `"default"` is for before that exists.  The client may be
    used by concurrent tasks, since it has no session.
    """
    url = urlsplit(settings.clickhouse_url)
    return await clickhouse_connect.get_async_client(
        host=url.hostname or "127.0.0.1",
        port=url.port or (8443 if url.scheme == "https" else 8123),
        secure=url.scheme == "https",
        username=settings.clickhouse_user,
        password=settings.password(),
        database=settings.clickhouse_database if database is None else database,
        connect_timeout=min(10, max(1, int(timeout_seconds))),
        send_receive_timeout=max(1, int(timeout_seconds)),
        autogenerate_session_id=False,
        compress=False,
    )
