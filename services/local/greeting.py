"""What a user sees once the stack is ready: where everything is, and lines to try.  Pure."""

from services.local.core.kafka_config import LOOPBACK
from services.local.settings import LocalSettings


def greeting(
    settings: LocalSettings, *, home: str, with_keys: bool, parts: frozenset[str]
) -> tuple[str, ...]:
    """Return the lines.  `with_keys`: requests need an API key."""
    ingest = f"http://{LOOPBACK}:{settings.ingest_port}"
    sql = f"http://{LOOPBACK}:{settings.clickhouse_port}"
    places = [
        ("feedback", f"{ingest}  (API: {ingest}/docs)", "ingest" in parts),
        ("dashboard", f"http://{LOOPBACK}:{settings.query_port}", "query" in parts),
        ("SQL", f"{sql}  (ClickHouse's HTTP interface, database {settings.clickhouse_database})", True),
        ("Kafka", f"{LOOPBACK}:{settings.kafka_port}", True),
        ("data, logs", home, True),
    ]
    key = ' -H "Authorization: Bearer $AFTERWORD_KEY"' if with_keys else ""
    body = """'{"data": {"rating": 5, "comment": "Spot on"}}'"""
    json = "-H 'Content-Type: application/json'"
    query = "'SELECT * FROM feedback FORMAT Vertical'"
    tries = [
        "",
        "Try it:",
        f"  curl {ingest}/feedback/chatcmpl-1{key} {json} -d {body}",
        f"  curl '{sql}/?database={settings.clickhouse_database}' -d {query}",
        "",
        "Ctrl-C stops everything in order; the data stays for the next start.",
    ]
    return (*(f"  {name:<11} {place}" for name, place, known in places if known), *tries)
