"""Each example of each page gives what the page says, on the stack that `make up` starts.

One stack serves all pages, one after the other: first the cookbook, whose answers count every row, and last
the page that makes a key, after which nobody is served without one.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.local.child import Command, python_module
from services.local.ports import free_port
from services.local.settings import LocalSettings
from services.runtime.clickhouse import connect
from services.runtime.settings import describe, load
from tests.support.documents import ROOT, examples_of, pages
from tests.support.examples import Place, execute
from tests.support.programs import Program

FIRST, LAST = "docs/sql.md", "docs/http.md"
LOOPBACK = "127.0.0.1"
PORTS = ("INGEST_PORT", "QUERY_PORT", "MERGER_METRICS_PORT", "SINK_METRICS_PORT")


def named(page: Path) -> str:
    """Return the name of a page within the repository."""
    return str(page.relative_to(ROOT))


def pages_with_a_stack() -> list[Path]:
    """Return the pages that need running services, in the order in which they are gone through."""
    found = [page for page in pages() if any(example.needs_a_stack for example in examples_of(page))]
    return sorted(found, key=lambda page: (named(page) != FIRST, named(page) == LAST, named(page)))


class Stack(Program):
    """`afterword up` on ports and in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.variables = {
            "AFTERWORD_HOME": str(directory / "home"),
            "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{free_port()}",
            "CLICKHOUSE_URL": f"http://{LOOPBACK}:{free_port()}",
            **{name: str(free_port()) for name in PORTS},
        }
        super().__init__(self._command, self._is_ready, directory / "up.log")

    @property
    def settings(self) -> LocalSettings:
        """The settings of the running stack."""
        return load(LocalSettings, self.variables)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a reader's shell to this stack."""
        return {**self.variables, "AFTERWORD_URL": f"http://{LOOPBACK}:{self.settings.ingest_port}"}

    @property
    def addresses(self) -> Mapping[str, str]:
        """The addresses that a fresh installation has, and this stack's instead."""
        defaults, own = LocalSettings().ports, self.settings.ports
        return {f"{LOOPBACK}:{defaults[name]}": f"{LOOPBACK}:{own[name]}" for name in defaults}

    def _command(self) -> Command:
        shown = {described.variable for described in describe(LocalSettings())}
        inherited = {name: value for name, value in os.environ.items() if name not in shown}
        return python_module("services.cli", "up", environment={**inherited, **self.variables})

    async def _is_ready(self) -> bool:
        return "\nready\n" in self.log.read_text()


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The stack that a reader has after `make up`, fresh."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    async with AsyncExitStack() as ending:
        ending.push_async_callback(stack.stop)
        await stack.start()
        yield stack


@pytest.fixture(scope="module")
async def complaints(
    request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> dict[Path, str]:
    """What is wrong with each page that this run asks for, in the order of the walk; empty if nothing is."""
    asked = {item.callspec.params.get("page") for item in request.session.items if hasattr(item, "callspec")}
    async with AsyncExitStack() as closing:
        client = await connect(stack.settings)
        closing.push_async_callback(client.close)
        found = {}
        for page in pages_with_a_stack():
            if page in asked:
                directory = tmp_path_factory.mktemp(page.stem)
                place = Place(directory, stack.environment, stack.addresses, client)
                found[page] = await complaint_about(page, place)
        return found


async def complaint_about(page: Path, place: Place) -> str:
    """Return the first example that does not give what its page says, and how it differs."""
    for example in examples_of(page):
        try:
            await execute(example, place)
        except Exception as error:  # noqa: BLE001 (whatever it is, the page is told with its line)
            return f"{named(page)}:{example.block.line}: {error}"
    return ""


@pytest.mark.parametrize("page", pages_with_a_stack(), ids=named)
def test_the_examples_give_what_the_page_says(page: Path, complaints: dict[Path, str]) -> None:
    """In the order of the page, as a reader would try them."""
    if complaints[page]:
        pytest.fail(complaints[page], pytrace=False)
