"""Brings Kafka's jars into a directory: each from Maven through jgo, each checked against the list.

A jar is looked for in the directory itself, then in the user's Maven repository (`~/.m2/repository`, which
serves as a cache between data directories), then on Maven Central.  Wherever it comes from, it counts only
with the right SHA-256, and it appears under its name only when it is whole.
`python -m services.local.jars` resolves the roots anew and prints the list, for an upgrade.
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
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import stamina

from services.local.core.jar_list import ROOTS, Jar, parse, render
from services.runtime.file_lock import locked

_DOWNLOADS_AT_ONCE = 6
_ATTEMPTS = 4
_INCOMING = ".incoming-"
_SHOWN = 200

Progress = Callable[[int, int], None]
"""Called, from any thread, with the bytes at hand so far and the bytes needed in all."""


class JarsError(Exception):
    """Raised when a jar can be neither found nor downloaded, in words that say what to do."""


def kafka_jars() -> tuple[Jar, ...]:
    """Return the committed list of the jars that Kafka runs from."""
    return parse((files("services.local") / "kafka-jars.txt").read_text("utf-8"))


def fetch(
    jars: tuple[Jar, ...], directory: Path, progress: Progress = lambda _done, _total: None
) -> list[Path]:
    """Return the paths of `jars` in `directory`, all checked; what is missing is copied or downloaded.

    Processes that fetch into one directory at once wait for each other.  JarsError when a jar cannot be had.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / jar.name for jar in jars]
    with locked(directory / ".lock"):
        missing = tuple(jar for jar, path in zip(jars, paths, strict=True) if not matches(path, jar))
        if missing:
            _bring(missing, directory, progress)
    return paths


def matches(path: Path, jar: Jar) -> bool:
    """Tell whether the file at `path` is exactly `jar`."""
    try:
        if path.stat().st_size != jar.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _bring(jars: tuple[Jar, ...], directory: Path, progress: Progress) -> None:
    """Put each of `jars` into `directory`; what has arrived stays when another cannot be had."""
    for leftover in directory.glob(f"{_INCOMING}*"):
        shutil.rmtree(leftover)
    count = _Count(sum(jar.size for jar in jars), progress)
    with (
        tempfile.TemporaryDirectory(prefix=_INCOMING, dir=directory) as incoming,
        _quietly(),
        ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as threads,
    ):
        source = _Source(Path(incoming), count)
        for file in threads.map(source.obtain, jars):
            file.replace(directory / file.name)


class _Count:
    """Adds up the bytes of downloads that run at once."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)


class _Source:
    """Obtains jars into a directory of its own, which is laid out as a Maven repository."""

    def __init__(self, directory: Path, count: _Count) -> None:
        self._directory, self._count = directory, count
        self._cache = _maven_repository()

    def obtain(self, jar: Jar) -> Path:
        """Return the checked file, from the user's Maven repository if it is there, else downloaded."""
        file = self._directory / _repository_path(jar)
        cached = self._cache / _repository_path(jar)
        if matches(cached, jar):
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached, file)
            self._count.add(jar.size)
        else:
            self._download(jar)
            _remember(file, cached)
        return file

    def _download(self, jar: Jar) -> None:
        """Download the file and check it; JarsError when it cannot be had after some attempts."""
        try:
            for attempt in stamina.retry_context(on=_may_pass, attempts=_ATTEMPTS):
                with attempt:
                    self._download_once(jar)
        except (OSError, RuntimeError) as error:
            raise JarsError(f"{jar.coordinates} could not be downloaded: {_reason(error)}") from error
        if not matches(self._directory / _repository_path(jar), jar):
            raise JarsError(
                f"{jar.coordinates} came with another SHA-256 than the list names, and was not used"
            )

    def _download_once(self, jar: Jar) -> None:
        # A retry downloads anew: jgo would take half a file of a failed attempt for a whole one.
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


def _may_pass(error: Exception) -> bool:
    """Tell whether another attempt may succeed: a certificate is not trusted a second later either."""
    return isinstance(error, OSError | RuntimeError) and not _is_untrusted(error)


def _is_untrusted(error: BaseException) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _reason(error: Exception) -> str:
    """Return what kept a download from working, and what to set, in one line."""
    if _is_untrusted(error):
        return (
            "the certificate of the repository is not trusted, as behind a proxy that signs with its own; "
            "add that to the system's store, or name its file in REQUESTS_CA_BUNDLE, and start again"
        )
    said = " ".join(str(error).split())
    return (
        f"{said[:_SHOWN]}; check the network, and HTTPS_PROXY where there is a proxy, or name a mirror "
        "as `central` under [repositories] in ~/.config/jgo.conf, and start again: what has arrived is kept"
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Have stamina tell nothing of attempts: the last error says it once, and progress is shown."""
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks(())
    try:
        yield
    finally:
        stamina.instrumentation.set_on_retry_hooks(hooks)


def _remember(file: Path, place: Path) -> None:
    """Copy a checked jar into the user's Maven repository, where that can be written."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        incoming = place.with_name(f"{_INCOMING}{os.getpid()}-{place.name}")
        shutil.copyfile(file, incoming)
        incoming.replace(place)


def _repository_path(jar: Jar) -> Path:
    """Return where a Maven repository keeps the jar."""
    return Path(*jar.group.split("."), jar.artifact, jar.version, jar.name)


def _maven_repository() -> Path:
    """Return the user's Maven repository, as jgo and Maven find it."""
    return Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")


def _repositories() -> dict[str, str]:
    """Return the remote repositories: those of the user's jgo settings, then Maven Central.

    Settings that name a repository `central` replace it, for those who may use only a mirror.
    """
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415

    configured: dict[str, str] = GlobalSettings.load().repositories
    return {**configured, "central": configured.get("central", MAVEN_CENTRAL_URL)}


def resolve(roots: tuple[str, ...]) -> tuple[Jar, ...]:
    """Return the jars that the roots need today, by a full resolution and download."""
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
