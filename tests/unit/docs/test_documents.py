"""How pages are read as examples."""

import pytest

from tests.support.docs.pages import Block, DocumentError, Rows, examples


def page(*blocks: str) -> str:
    """Return a page of these parts."""
    return "# A page\n\n" + "\n\n".join(blocks) + "\n"


def fence(info: str, text: str = "x") -> str:
    """Return a fenced block."""
    return f"```{info}\n{text}\n```"


TABLE = "| a | b |\n|---|---|\n| `1` | two |"


def test_an_output_belongs_to_the_example_above_it() -> None:
    """Prose in between does no harm."""
    (example,) = examples(page(fence("sh", "echo 1"), "It prints:", fence("text output", "1")))

    assert Block(3, "sh", (), "echo 1\n") == example.block
    assert example.output
    assert example.output.text == "1\n"


def test_a_table_belongs_to_the_statement_right_before_it() -> None:
    """Code spans in cells stand for their text."""
    (example,) = examples(page(fence("sql", "SELECT 1"), TABLE))

    assert Rows(["a", "b"], [["1", "two"]]) == example.rows


def test_other_tables_are_no_examples() -> None:
    """A table on its own is prose."""
    assert examples(page(TABLE)) == []


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([fence("")], r"line 3: .*\(no language\)"),
        ([fence("cobol")], "'cobol'"),
        ([fence("sh loudly")], "'sh loudly'"),
        ([fence("python eventually")], "'python eventually'"),
        ([fence("sql")], "line 3: a statement without its result"),
        ([fence("sql"), "Prose.", TABLE], "line 3: a statement without its result"),
        ([fence("sql"), fence("sh")], "line 3: a statement without its result"),
        ([fence("text output")], "line 3: an output without an example"),
        ([fence("sh"), fence("text output"), fence("text output")], "line 11: an output without"),
    ],
)
def test_a_block_that_is_not_executed_is_refused(parts: list[str], complaint: str) -> None:
    """The complaint names the line."""
    with pytest.raises(DocumentError, match=complaint):
        examples(page(*parts))


def test_illustrations_are_kept_apart() -> None:
    """`text` is a picture; nothing runs it, and it needs no stack."""
    (example,) = examples(page(fence("text")))

    assert not example.needs_a_stack


def test_a_statement_for_a_server_needs_no_result() -> None:
    """The local engine only parses it."""
    (example,) = examples(page(fence("sql server", "CREATE USER a")))

    assert example.rows is None
