"""Brings the jars that Kafka runs from into a directory, each checked against the list in `kafka-jars.txt`.

The list has exact coordinates, sizes and SHA-256 sums of all of them: nothing is resolved at run time, and a
jar that changed upstream is refused.  A jar is looked for in the directory itself, then in the user's Maven
repository (`~/.m2/repository`, a cache shared by data directories), then on Maven Central, through jgo.
It appears under its name only when it is complete.
`python -m services.local.jars` resolves the roots again and prints the list, for an upgrade.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import stamina

from services.runtime.file_lock import locked

KAFKA = "4.1.1"
"""The version of Kafka's own jars."""

# Named because a resolver that takes the nearest version would pick an older one through another dependency,
# and the broker would die with NoSuchMethodError.
CLIENTS = f"org.apache.kafka:kafka-clients:{KAFKA}"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA}", CLIENTS, LOGGING)
"""The coordinates from which the list was resolved."""


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
    """Return the jars of a list: one `sha256 bytes group:artifact:version` a line; `#` starts a comment."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(_parse_line(line) for line in lines if line and not line.startswith("#"))


def _parse_line(line: str) -> Jar:
    """Return the jar of one line.  ValueError if it is malformed."""
    sha256, size, coordinates = line.split()
    group, artifact, version = coordinates.split(":")
    return Jar(group, artifact, version, int(size), sha256)


def render(
    jars: tuple[Jar, ...], roots: tuple[str, ...] = ROOTS, made_by: str = "services.local.jars"
) -> str:
    """Return the text of a list, sorted, such that `parse` gives the same jars."""
    heading = [f"# Made by `python -m {made_by}` from", *(f"#   {root}" for root in roots)]
    return "\n".join([*heading, *(jar.line for jar in sorted(jars))]) + "\n"


_DOWNLOADS_AT_ONCE = 6
_ATTEMPTS = 4
_INCOMING = ".incoming-"
_SHOWN = 200

Progress = Callable[[int, int], None]
"""Called from any thread with the bytes received so far and the bytes needed in all."""


class JarsError(Exception):
    """Raised when a jar can be neither found nor downloaded; the text names what to do."""


def kafka_jars() -> tuple[Jar, ...]:
    """Return the committed list of the jars that Kafka runs from."""
    return parse((files("services.local") / "kafka-jars.txt").read_text("utf-8"))


def fetch(
    jars: tuple[Jar, ...], directory: Path, progress: Progress = lambda _done, _total: None
) -> list[Path]:
    """Return the paths of `jars` in `directory`, all checked, after copying or downloading missing ones.

    Concurrent processes wait for each other by a lock.  JarsError if a jar is unavailable.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / jar.name for jar in jars]
    with locked(directory / ".lock"):
        missing = tuple(jar for jar, path in zip(jars, paths, strict=True) if not matches(path, jar))
        if missing:
            _obtain_all(missing, directory, progress)
    return paths


def matches(path: Path, jar: Jar) -> bool:
    """Return whether the file at `path` has the size and the SHA-256 sum of `jar`."""
    try:
        if path.stat().st_size != jar.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _obtain_all(jars: tuple[Jar, ...], directory: Path, progress: Progress) -> None:
    """Put each of `jars` into `directory`; those that arrived stay if another is unavailable."""
    for leftover in directory.glob(f"{_INCOMING}*"):
        shutil.rmtree(leftover)
    count = _DownloadCounter(sum(jar.size for jar in jars), progress)
    with (
        tempfile.TemporaryDirectory(prefix=_INCOMING, dir=directory) as incoming,
        _quietly(),
        ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as threads,
    ):
        source = _MavenSource(Path(incoming), count)
        for file in threads.map(source.obtain, jars):
            file.replace(directory / file.name)


class _DownloadCounter:
    """Adds up the bytes of concurrent downloads."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)


class _MavenSource:
    """Obtains jars into a directory of its own, which is laid out as a Maven repository."""

    def __init__(self, directory: Path, count: _DownloadCounter) -> None:
        self._directory, self._count = directory, count
        self._cache = _maven_repository()

    def obtain(self, jar: Jar) -> Path:
        """Return the checked file, from the user's Maven repository or by a download."""
        file = self._directory / _repository_path(jar)
        cached = self._cache / _repository_path(jar)
        if matches(cached, jar):
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached, file)
            self._count.add(jar.size)
        else:
            self._download(jar)
            _cache(file, cached)
        return file

    def _download(self, jar: Jar) -> None:
        """Download the file and check it.  JarsError after the last attempt."""
        try:
            for attempt in stamina.retry_context(on=_is_retryable, attempts=_ATTEMPTS):
                with attempt:
                    self._download_once(jar)
        except (OSError, RuntimeError) as error:
            raise JarsError(f"{jar.coordinates} could not be downloaded: {_reason(error)}") from error
        if not matches(self._directory / _repository_path(jar), jar):
            raise JarsError(f"{jar.coordinates} has another SHA-256 than the list, and was not used")

    def _download_once(self, jar: Jar) -> None:
        # Without the partial file of a failed attempt, which jgo would take for a complete one.
        (self._directory / _repository_path(jar)).unlink(missing_ok=True)
        self._maven.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()

    @cached_property
    def _maven(self) -> Any:
        # Before requests is imported: certificates are those of the system, where a company's own is added.
        import truststore  # noqa: PLC0415

        truststore.inject_into_ssl()
        # Imported here because it takes 0.8 s, which a start that has its jars should not pay.
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

        resolver = PythonResolver(progress_callback=self._report)
        return MavenContext(resolver=resolver, repo_cache=self._directory, remote_repos=_repositories())

    @contextmanager
    def _report(self, _name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield self._count.add


def _is_retryable(error: Exception) -> bool:
    """Return whether another attempt may succeed: an untrusted certificate stays untrusted."""
    return isinstance(error, OSError | RuntimeError) and not _is_untrusted(error)


def _is_untrusted(error: BaseException) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _reason(error: Exception) -> str:
    """Return in one line why a download failed, and what to set."""
    if _is_untrusted(error):
        return (
            "the certificate of the repository is not trusted, as behind a proxy that signs with its own; "
            "add that to the system's store, or name its file in REQUESTS_CA_BUNDLE, and start again"
        )
    text = " ".join(str(error).split())
    return (
        f"{text[:_SHOWN]}; check the network, and HTTPS_PROXY where there is a proxy, or name a mirror "
        "as `central` under [repositories] in ~/.config/jgo.conf, and start again: complete jars are kept"
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep stamina from logging attempts: the last error is reported once, and progress is shown."""
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks(())
    try:
        yield
    finally:
        stamina.instrumentation.set_on_retry_hooks(hooks)


def _cache(file: Path, cached: Path) -> None:
    """Copy a checked jar into the user's Maven repository, if that is writable."""
    with suppress(OSError):
        cached.parent.mkdir(parents=True, exist_ok=True)
        incoming = cached.with_name(f"{_INCOMING}{os.getpid()}-{cached.name}")
        shutil.copyfile(file, incoming)
        incoming.replace(cached)


def _repository_path(jar: Jar) -> Path:
    """Return the jar's path in a Maven repository."""
    return Path(*jar.group.split("."), jar.artifact, jar.version, jar.name)


def _maven_repository() -> Path:
    """Return the user's Maven repository, as jgo and Maven find it."""
    return Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")


def _repositories() -> dict[str, str]:
    """Return the remote repositories: those of the user's jgo settings, then Maven Central.

    A repository named `central` in the settings replaces it, for networks that reach only a mirror.
    """
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415

    configured: dict[str, str] = GlobalSettings.load().repositories
    return {**configured, "central": configured.get("central", MAVEN_CENTRAL_URL)}


def resolve(roots: tuple[str, ...]) -> tuple[Jar, ...]:
    """Return the jars that the roots need now, by a full resolution and download."""
    import jgo  # noqa: PLC0415

    return tuple(_measure(artifact) for artifact in jgo.resolve("+".join(roots)))


def _measure(artifact: Any) -> Jar:
    content = Path(artifact.resolve()).read_bytes()
    return Jar(
        artifact.groupId,
        artifact.artifactId,
        artifact.version,
        len(content),
        hashlib.sha256(content).hexdigest(),
    )


if __name__ == "__main__":
    sys.stdout.write(render(resolve(ROOTS)))
