"""The whole local stack as a user runs it: `afterword up` in a directory and on ports of its own."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

from services.local.ports import free_port
from services.local.processes import Child, Command, python_module
from services.local.settings import LocalSettings
from services.runtime.settings import ClickHouseSettings, KafkaSettings, load
from tests.support.eventually import eventually
from tests.support.stack.restartable import Program

READY_WITHIN = 180.0
STOPPED_WITHIN = 60.0
_PASSED_ON = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "LANG")


class WholeStack:
    """`afterword up`, its variables and its output.

    It gets an empty home directory and a PATH that leads nowhere: no Java, no Docker, no uv.  The user's
    Maven repository serves as a cache, so that Kafka is downloaded once on a machine.
    """

    def __init__(self, directory: Path, **variables: str) -> None:
        self.home = directory / "home"
        self.output = directory / "up.log"
        self.environ = {**environment(directory, self.home), **variables}
        self.settings = load(LocalSettings, self.environ)
        self.child: Child | None = None

    @property
    def ingest_url(self) -> str:
        """Where feedback goes."""
        return f"http://127.0.0.1:{self.settings.ingest_port}"

    @property
    def query_url(self) -> str:
        """Where feedback is read back, and the dashboard is."""
        return f"http://127.0.0.1:{self.settings.query_port}"

    def command(self, *arguments: str) -> Command:
        """Return an `afterword` command in this stack's environment."""
        return python_module("services.cli", *arguments, environment=self.environ)

    async def start(self, within: float = READY_WITHIN) -> None:
        """Start it, and return once it says `ready`."""
        before = len(self.lines())
        self.launch()
        await eventually(lambda: self._is_ready(before), within=within, every=0.1)

    def launch(self) -> None:
        """Start it, and return at once.  Call it in the main thread."""
        self.child = Child(self.command("up"), self.output)

    def _is_ready(self, before: int) -> bool:
        code = self.child.exit_code() if self.child else None
        if code is not None:
            raise RuntimeError(f"`afterword up` ended with {code}:\n" + "\n".join(self.lines()[before:]))
        return "ready" in self.lines()[before:]

    async def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop, by Ctrl-C's signal by default; its exit code."""
        if self.child is None:
            raise RuntimeError("start it first")
        os.kill(self.child.pid, number)
        return await asyncio.to_thread(self.child.wait, STOPPED_WITHIN)

    async def kill(self) -> None:
        """Kill the supervisor, if it runs; the kernel kills the parts."""
        if self.child is not None:
            self.child.kill()
            await asyncio.to_thread(self.child.wait)

    def lines(self) -> list[str]:
        """Return everything that `up` has printed, over all starts."""
        return self.output.read_text().splitlines() if self.output.exists() else []

    def said(self) -> list[str]:
        """Return the same without the time of day."""
        return [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in self.lines()]

    def pid(self, part: str) -> int:
        """Return the process id of a part that runs."""
        return int((self.home / "run" / f"{part}.pid").read_text())

    async def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an `afterword` command against this stack."""
        command = self.command(*arguments)
        return await asyncio.to_thread(
            subprocess.run,
            command.argv,
            env=dict(command.environment),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


class ContainedStack(WholeStack):
    """The same services, each as a process of its own, on a Kafka and a ClickHouse that run elsewhere.

    What belongs to `afterword up`, such as its output and its process ids, it has not.
    """

    def __init__(self, directory: Path, kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
        super().__init__(
            directory,
            KAFKA_BOOTSTRAP_SERVERS=kafka.kafka_bootstrap_servers,
            CLICKHOUSE_URL=clickhouse.clickhouse_url,
            CLICKHOUSE_PASSWORD=clickhouse.password(),
        )
        ports = {
            "ingest": self.settings.ingest_port,
            "merger": self.settings.merger_metrics_port,
            "sink": self.settings.sink_metrics_port,
            "query": self.settings.query_port,
        }
        self._programs = [
            self._program(service, port, directory / f"{service}.log") for service, port in ports.items()
        ]

    def _program(self, service: str, port: int, log: Path) -> Program:
        command = python_module(f"services.{service}", environment=self.environ)
        return Program(lambda: command, lambda: asyncio.to_thread(_is_ready, port), log)

    async def start(self, within: float = READY_WITHIN) -> None:
        """Make topics and tables, start the services, and return once each is ready."""
        made = await self.call("migrate", "--wait", str(within))
        assert made.returncode == 0, made.stdout + made.stderr
        await asyncio.gather(*(program.start() for program in self._programs))

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop the services in order; 0 once all have."""
        assert number == signal.SIGTERM
        codes = await asyncio.gather(*(program.stop() for program in self._programs))
        return max(abs(code or 0) for code in codes)

    async def kill(self) -> None:
        """Kill the services that run."""
        await asyncio.gather(*(program.kill() for program in self._programs))


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def environment(directory: Path, home: Path) -> Mapping[str, str]:
    """Return the variables of a stack with ports of its own, and nothing of this machine's on its path."""
    nowhere = directory / "nowhere"
    nowhere.mkdir(parents=True)
    maven = os.environ.get("M2_REPO") or str(Path.home() / ".m2" / "repository")
    ports = ("INGEST_PORT", "QUERY_PORT", "MERGER_METRICS_PORT", "SINK_METRICS_PORT")
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "HOME": str(nowhere),
        "PATH": str(nowhere),
        "M2_REPO": maven,
        "AFTERWORD_HOME": str(home),
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
        "CLICKHOUSE_URL": f"http://127.0.0.1:{free_port()}",
        **{name: str(free_port()) for name in ports},
    }
