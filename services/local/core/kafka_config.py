"""Settings and command of the local stack's Kafka: one KRaft node on loopback.

What differs from Kafka's defaults has one of three reasons: a single node (replication factors 1), a restart
within seconds after a kill (few internal partitions, a short broker session), and the guarantees of
production (no automatic topics, offsets retained as long as the records they point to).
"""

from collections.abc import Sequence
from pathlib import Path

from schemas.topics import DEAD_LETTERS_RETENTION_MS, EVENTS_RETENTION_MS

LOOPBACK = "127.0.0.1"
PARTITIONS = 4
"""The number of partitions of keyed topics in the local stack."""

_NODE = 1
_MINUTE_MS = 60_000
_LONGEST_RETENTION_MS = max(EVENTS_RETENTION_MS, DEAD_LETTERS_RETENTION_MS)
_HEAP = "512m"


def server_properties(*, port: int, controller_port: int, data: Path, advertised: int | None = None) -> str:
    """Return the text of Kafka's settings file; `advertised` None: the same port."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": _NODE,
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{advertised or port}",
        "controller.listener.names": "CONTROLLER",
        # Read at each start, so the controller may take another free port each time.
        "controller.quorum.voters": f"{_NODE}@{LOOPBACK}:{controller_port}",
        "log.dirs": data,
        "num.partitions": PARTITIONS,
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        # An idle group must find its offsets as long as the topic retains the records.
        "offsets.retention.minutes": _LONGEST_RETENTION_MS // _MINUTE_MS,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # The default is 50, each of which is recovered after a kill.
        "offsets.topic.num.partitions": PARTITIONS,
        "transaction.state.log.num.partitions": PARTITIONS,
        "share.coordinator.state.topic.num.partitions": 1,
        "num.recovery.threads.per.data.dir": 2,
        # Until the session of a killed broker ends, its restart is refused.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 2000,
        "group.initial.rebalance.delay.ms": 0,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def log4j2_properties() -> str:
    """Return the text of Kafka's logging settings: warnings and errors, on standard output."""
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
        # With a small heap and only the first compiler the node is ready after 3 s instead of 5 s.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        # Kafka's libraries use both; without these options the runtime prints warnings.
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        f"-Dlog4j2.configurationFile={logging}",
        f"-Djava.io.tmpdir={scratch}",
        "-cp",
        ":".join(map(str, jars)),
        main_class,
        *arguments,
    )
