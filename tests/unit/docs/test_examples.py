"""How the examples of a page are executed."""

from pathlib import Path

import pytest

from tests.support.docs.examples import Place, execute
from tests.support.docs.pages import Example, examples


def example(text: str) -> Example:
    """Return the only example of a page."""
    (only,) = examples(text)
    return only


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A directory without a stack, where port 8080 of the pages is port 4711."""
    return Place(tmp_path, {"NAME": "reader"}, {"127.0.0.1:8080": "127.0.0.1:4711"})


async def test_output_that_differs_is_an_error(place: Place) -> None:
    """The page says one thing, the program another."""
    with pytest.raises(AssertionError, match="the page says\nhello\nbut it gave\nbye"):
        await execute(example("```sh\necho bye\n```\n```text output\nhello\n```"), place)


async def test_addresses_are_put_in_and_taken_out(place: Place) -> None:
    """The page names the port of a fresh installation, and sees that port printed."""
    page = "```sh\necho 127.0.0.1:8080; echo 127.0.0.1:8080 | tr -dc 0-9\n```\n"
    await execute(example(page + "```text output\n127.0.0.1:8080\n1270014711\n```"), place)


async def test_exit_codes_are_compared(place: Place) -> None:
    """A command that fails is an error, unless the page says that it does."""
    await execute(example("```sh exit=3\nexit 3\n```"), place)
    with pytest.raises(AssertionError, match="exit code 3"):
        await execute(example("```sh\nexit 3\n```"), place)


async def test_a_pipe_fails_with_its_first_command(place: Place) -> None:
    """A page's `curl | jq` must not hide that curl failed."""
    with pytest.raises(AssertionError, match="exit code 1"):
        await execute(example("```sh\nfalse | cat\n```"), place)


async def test_variables_reach_the_next_block(place: Place) -> None:
    """As in the shell of a reader, who types one block after the other."""
    first, second = examples(
        "```sh\nKEY=secret\n```\n```sh\necho $KEY $NAME\n```\n```text output\nsecret reader\n```"
    )

    await execute(first, place)
    await execute(second, place)


async def test_warnings_of_python_examples_are_errors(place: Place) -> None:
    """Nobody should copy what is deprecated."""
    with pytest.raises(AssertionError, match="invalid escape"):
        await execute(example("```python\nprint('\\d')\n```"), place)


async def test_eventually_tries_again(place: Place) -> None:
    """What a row will be is not there at once."""
    count = "```sh eventually\necho x >> tries; wc -l < tries\n```\n```text output\n3\n```"

    await execute(example(count), place)
