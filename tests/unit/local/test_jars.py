"""Jars by exact coordinates, checked."""

import gc
import hashlib
import os
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import stamina

from services.local.jars import ROOTS, Jar, JarsError, fetch, kafka_jars, matches, parse, render
from tests.support.http.clients import program

CONTENT = b"a jar, for all that anybody checks"
JAR = Jar("org.example", "thing", "1.0", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Maven repository of this test's own, empty."""
    repository = tmp_path / "m2"
    monkeypatch.setenv("M2_REPO", str(repository))
    return repository


@pytest.fixture
def central(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A remote repository on loopback, empty, in place of Maven Central; nothing is tried twice."""
    directory = tmp_path / "central"
    directory.mkdir()
    handler = partial(Quiet, directory=str(directory))
    with stamina.set_testing(True), ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = tmp_path / "jgo.conf"
        config.write_text(f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
        yield directory
        server.shutdown()
    with warnings.catch_warnings():
        # jgo leaves the answers that it did not want to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without saying so; of those in `breaking`, half and then no more, once."""

    breaking: ClassVar[set[str]] = set()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, or half of it."""
        content = source.read()
        name = self.path.rpartition("/")[2]
        outputfile.write(content[: len(content) // 2] if name in self.breaking else content)
        self.breaking.discard(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the library's)
        """Say nothing."""


def put(maven: Path, content: bytes) -> Path:
    """Put a file where a Maven repository keeps the jar."""
    file = maven / "org" / "example" / "thing" / "1.0" / "thing-1.0.jar"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def test_the_list_names_its_roots_and_each_jar_once() -> None:
    """Exact coordinates, 64 hex digits, and no file name that two jars share."""
    jars = kafka_jars()

    assert set(ROOTS) <= {jar.coordinates for jar in jars}
    assert len({jar.name for jar in jars}) == len(jars)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 0 for jar in jars)


def test_a_list_survives_writing_and_reading() -> None:
    """What `python -m services.local.jars` prints is what is read."""
    assert parse(render(kafka_jars())) == kafka_jars()


def test_a_jar_in_the_maven_repository_is_not_downloaded(tmp_path: Path, maven: Path) -> None:
    """And progress counts it."""
    put(maven, CONTENT)
    seen: list[tuple[int, int]] = []
    (file,) = fetch((JAR,), tmp_path / "jars", lambda done, total: seen.append((done, total)))

    assert file.read_bytes() == CONTENT
    assert seen == [(len(CONTENT), len(CONTENT))]


def test_a_jar_that_is_there_is_only_checked(tmp_path: Path, maven: Path) -> None:
    """A second start needs neither the Maven repository nor a network."""
    cached = put(maven, CONTENT)
    fetch((JAR,), tmp_path / "jars")
    cached.unlink()
    seen: list[tuple[int, int]] = []
    (file,) = fetch((JAR,), tmp_path / "jars", lambda done, total: seen.append((done, total)))

    assert matches(file, JAR)
    assert seen == []


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[:-1] + b"X"], ids=["cut", "changed"])
def test_a_damaged_jar_is_replaced(tmp_path: Path, maven: Path, damaged: bytes) -> None:
    """Half a file of an interrupted copy, or a file that somebody changed, is never run."""
    put(maven, CONTENT)
    directory = tmp_path / "jars"
    directory.mkdir()
    (directory / JAR.name).write_bytes(damaged)
    (file,) = fetch((JAR,), directory)

    assert file.read_bytes() == CONTENT


def test_leftovers_of_a_killed_download_are_removed(tmp_path: Path, maven: Path) -> None:
    """They would grow for ever."""
    put(maven, CONTENT)
    leftover = tmp_path / "jars" / ".incoming-killed"
    leftover.mkdir(parents=True)
    fetch((JAR,), tmp_path / "jars")

    assert not leftover.exists()


def test_a_missing_jar_is_downloaded_and_remembered(tmp_path: Path, maven: Path, central: Path) -> None:
    """From the repository that jgo's settings name, and once for all data directories."""
    file = put(central, CONTENT)
    (first,) = fetch((JAR,), tmp_path / "first")
    file.unlink()
    (second,) = fetch((JAR,), tmp_path / "second")

    assert first.read_bytes() == second.read_bytes() == CONTENT


def test_a_download_that_breaks_off_starts_over(tmp_path: Path, maven: Path, central: Path) -> None:
    """Half a jar is never taken for the whole."""
    put(central, CONTENT)
    Quiet.breaking.add(JAR.name)
    with stamina.set_testing(True, attempts=2):
        (file,) = fetch((JAR,), tmp_path / "jars")

    assert file.read_bytes() == CONTENT
    assert not Quiet.breaking


def test_a_jar_that_came_with_another_sum_is_not_used(tmp_path: Path, maven: Path, central: Path) -> None:
    """Whoever changed it."""
    put(central, CONTENT[:-1] + b"X")
    with pytest.raises(JarsError, match=r"org\.example:thing:1\.0 has another SHA-256"):
        fetch((JAR,), tmp_path / "jars")

    assert not (tmp_path / "jars" / JAR.name).exists()
    assert not any(maven.rglob("*.jar"))


FETCH = """
import sys
from pathlib import Path
from services.local.jars import Jar
from services.local.jars import JarsError, fetch
try:
    fetch((Jar("org.example", "thing", "1.0", int(sys.argv[2]), sys.argv[3]),), Path(sys.argv[1]))
except JarsError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A repository with the jar, whose certificate no public authority signed: its URL, the certificate."""
    openssl = program("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    asked = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    asked += ["-keyout", str(key), "-out", str(certificate)]
    asked += ["-subj", "/CN=proxy", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *asked], check=True, capture_output=True)
    put(tmp_path / "signed", CONTENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = partial(Quiet, directory=str(tmp_path / "signed"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}", certificate
        server.shutdown()


def fetched(directory: Path, url: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Fetch the jar from a repository, in a process of its own that has these variables."""
    config = directory / "jgo.conf"
    config.write_text(f"[repositories]\ncentral = {url}\n")
    own = {"JGO_CONFIG_FILE": str(config), "M2_REPO": str(directory / "m2"), **environ}
    kept = {name: value for name, value in os.environ.items() if "CERT" not in name and "BUNDLE" not in name}
    call = [sys.executable, "-c", FETCH, str(directory / "jars"), str(JAR.size), JAR.sha256]
    return subprocess.run(call, env=kept | own, capture_output=True, text=True, check=False)


def test_a_certificate_that_is_not_trusted_is_one_line(tmp_path: Path, signed: tuple[str, Path]) -> None:
    """As behind a company's proxy: what it is, and what to set; nothing is tried again."""
    ended = fetched(tmp_path, signed[0])

    assert ended.returncode == 1
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert "org.example:thing:1.0 could not be downloaded: the certificate of the repository is not" in line
    assert "REQUESTS_CA_BUNDLE" in line


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_of_the_system_count(variable: str, tmp_path: Path, signed: tuple[str, Path]) -> None:
    """Those of OpenSSL's store, of which SSL_CERT_FILE names another file, and those that requests reads."""
    ended = fetched(tmp_path, signed[0], **{variable: str(signed[1])})

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "jars" / JAR.name).read_bytes() == CONTENT


def test_a_repository_that_is_away_is_one_line(tmp_path: Path) -> None:
    """After all attempts, of which nothing is told."""
    ended = fetched(tmp_path, "http://127.0.0.1:1")

    assert ended.returncode == 1
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert "could not be downloaded: " in line
    assert "HTTPS_PROXY" in line
    assert "{" not in line


def test_a_jar_that_cannot_be_had_is_named(tmp_path: Path, maven: Path, central: Path) -> None:
    """In a line that says what to do."""
    with pytest.raises(JarsError, match=r"org\.example:thing:1\.0 could not be downloaded: .* network"):
        fetch((JAR,), tmp_path / "jars")
