"""Which jars Kafka runs from: exact coordinates, sizes and SHA-256 sums, read from `kafka-jars.txt`.

The list is complete (nothing is resolved at run time), so a jar that changed upstream is refused and a
start never depends on what a repository answers today.  Pure: text in, values out.
"""

from dataclasses import dataclass

KAFKA = "4.1.1"
"""The version of every jar of Kafka's own."""

# Named because a resolver that takes the nearest version would pick an older one through another dependency,
# and the broker would die with NoSuchMethodError.
CLIENTS = f"org.apache.kafka:kafka-clients:{KAFKA}"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA}", CLIENTS, LOGGING)
"""What the list was resolved from."""


@dataclass(frozen=True, slots=True, order=True)
class Jar:
    """One jar by its exact coordinates, with its size in bytes and its SHA-256 sum in hex."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Return the file's name, as a Maven repository spells it."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        """Return `group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def line(self) -> str:
        """Return the jar as its line of the list."""
        return f"{self.sha256} {self.size} {self.coordinates}"


def parse(text: str) -> tuple[Jar, ...]:
    """Return the jars of a list: one `sha256 bytes group:artifact:version` a line, `#` begins a comment."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(_parse_line(line) for line in lines if line and not line.startswith("#"))


def _parse_line(line: str) -> Jar:
    """Return the jar of one line; ValueError when it is not one."""
    sha256, size, coordinates = line.split()
    group, artifact, version = coordinates.split(":")
    return Jar(group, artifact, version, int(size), sha256)


def render(
    jars: tuple[Jar, ...], roots: tuple[str, ...] = ROOTS, made_by: str = "services.local.jars"
) -> str:
    """Return the text of a list, sorted, such that `parse` gives the same jars."""
    heading = [f"# Made by `python -m {made_by}` from", *(f"#   {root}" for root in roots)]
    return "\n".join([*heading, *(jar.line for jar in sorted(jars))]) + "\n"
