"""Each example of each page gives what the page says, on the stack that `make up` starts.

One stack serves all pages: first the cookbook alone, whose answers count every row, then all others at once,
and last the page that makes a key, after which nobody is served without one.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.local.settings import LocalSettings
from services.runtime.clickhouse.client import connect
from services.runtime.settings import describe
from tests.support.docs.examples import Place, execute
from tests.support.docs.pages import ROOT, examples_of, pages
from tests.support.stack.whole_stack import WholeStack

FIRST, LAST = "docs/sql.md", "docs/http.md"
LOOPBACK = "127.0.0.1"


def named(page: Path) -> str:
    """Return the name of a page within the repository."""
    return str(page.relative_to(ROOT))


def pages_with_a_stack() -> list[Path]:
    """Return the pages that need running services."""
    return [page for page in pages() if any(example.needs_a_stack for example in examples_of(page))]


def turns(asked: Collection[Path]) -> list[list[Path]]:
    """Return the pages in the order in which they are gone through, those of one turn at once."""
    first, last = ([page for page in asked if named(page) == name] for name in (FIRST, LAST))
    return [first, [page for page in asked if page not in (*first, *last)], last]


def addresses(settings: LocalSettings) -> Mapping[str, str]:
    """Return the addresses that a fresh installation has, and a stack's instead."""
    defaults, own = LocalSettings().ports, settings.ports
    return {f"{LOOPBACK}:{defaults[name]}": f"{LOOPBACK}:{own[name]}" for name in defaults}


def environment(stack: WholeStack) -> Mapping[str, str]:
    """Return what leads a reader's shell to the stack."""
    variables = describe(LocalSettings())
    own = {
        variable.variable: stack.environ[variable.variable]
        for variable in variables
        if variable.variable in stack.environ
    }
    return {**own, "AFTERWORD_URL": stack.ingest_url, "AFTERWORD_QUERY_URL": stack.query_url}


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholeStack]:
    """The stack that a reader has after `make up`, fresh."""
    stack = WholeStack(tmp_path_factory.mktemp("stack"))
    async with AsyncExitStack() as ending:
        ending.push_async_callback(stack.kill)
        await stack.start()
        yield stack
        await stack.stop()


@pytest.fixture(scope="module")
async def complaints(
    request: pytest.FixtureRequest, stack: WholeStack, tmp_path_factory: pytest.TempPathFactory
) -> dict[Path, str]:
    """What is wrong with each page that this run asks for, in the order of the walk; empty if nothing is."""
    chosen = [item.callspec.params.get("page") for item in request.session.items if hasattr(item, "callspec")]
    asked = [page for page in pages_with_a_stack() if page in chosen]
    found: dict[Path, str] = {}
    async with AsyncExitStack() as closing:
        client = await connect(stack.settings)
        closing.push_async_callback(client.close)
        for turn in turns(asked):
            directories = [tmp_path_factory.mktemp(page.stem) for page in turn]
            places = [
                Place(directory, environment(stack), addresses(stack.settings), client)
                for directory in directories
            ]
            found |= dict(zip(turn, await asyncio.gather(*map(complaint_about, turn, places)), strict=True))
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
def test_the_examples_give_what_the_page_shows(page: Path, complaints: dict[Path, str]) -> None:
    """In the order of the page, as a reader would try them."""
    if complaints[page]:
        pytest.fail(complaints[page], pytrace=False)
