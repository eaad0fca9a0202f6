"""How the local stack's Kafka is set up: one KRaft node on loopback.  Pure: values in, text out.

What differs from Kafka's defaults serves one of three ends: a node of its own (replication factors 1), a
restart within seconds after a kill (few internal partitions, short broker session), and the same guarantees
as production (no automatic topics, offsets kept for as long as the records they point into).
"""

from collections.abc import Sequence
from pathlib import Path

from schemas.topics import DEAD_LETTERS_RETENTION_MS, EVENTS_RETENTION_MS

LOOPBACK = "127.0.0.1"
PARTITIONS = 4
"""Partitions of keyed topics in the local stack."""

_NODE = 1
_MINUTE_MS = 60_000
_LONGEST_RETENTION_MS = max(EVENTS_RETENTION_MS, DEAD_LETTERS_RETENTION_MS)
_HEAP = "512m"


def server_properties(*, port: int, controller_port: int, data: Path, advertised: int | None = None) -> str:
    """Return the text of Kafka's settings file; `advertised` None is the same port."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": _NODE,
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{advertised or port}",
        "controller.listener.names": "CONTROLLER",
        # Read anew at each start, so the controller may take another free port each time.
        "controller.quorum.voters": f"{_NODE}@{LOOPBACK}:{controller_port}",
        "log.dirs": data,
        "num.partitions": PARTITIONS,
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        # An idle group must find its offsets for as long as the topic keeps the records.
        "offsets.retention.minutes": _LONGEST_RETENTION_MS // _MINUTE_MS,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # 50 logs each by default, every one of which is recovered after a kill.
        "offsets.topic.num.partitions": PARTITIONS,
        "transaction.state.log.num.partitions": PARTITIONS,
        "share.coordinator.state.topic.num.partitions": 1,
        "num.recovery.threads.per.data.dir": 2,
        # A killed broker is taken for alive, and its restart refused, until its session ends.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 2000,
        "group.initial.rebalance.delay.ms": 0,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def log4j2_properties() -> str:
    """Return the text of the settings of Kafka's log: warnings and errors, on standard output."""
    settings = {
        "rootLogger.level": "WARN",
        "rootLogger.appenderRef.console.ref": "console",
        "appender.console.type": "Console",
        "appender.console.name": "console",
        "appender.console.layout.type": "PatternLayout",
        "appender.console.layout.pattern": "%d{ISO8601} %-5p %c: %m%n",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def java_command(
    java: Path, jars: Sequence[Path], main_class: str, *arguments: str, logging: Path, scratch: Path
) -> tuple[str, ...]:
    """Return the command that runs one of Kafka's programs; native libraries are unpacked in `scratch`."""
    return (
        str(java),
        f"-Xmx{_HEAP}",
        # A small heap and the first compiler alone: the node serves in 3 s instead of 5 s.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        # Kafka's libraries use both; without these the runtime prints warnings at each start.
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        f"-Dlog4j2.configurationFile={logging}",
        f"-Djava.io.tmpdir={scratch}",
        "-cp",
        ":".join(map(str, jars)),
        main_class,
        *arguments,
    )
