"""Pages of documentation agree with the repository: blocks, links, paths, names of tests, generated parts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.generate import MODELS
from scripts import reference
from services.cli.app import COMMANDS
from services.ingest.dialects import DIALECTS
from tests.support.docs.elsewhere import ELSEWHERE
from tests.support.docs.examples import Place, execute
from tests.support.docs.pages import ROOT, examples_of, pages, tables, tokens

DECISION_PARTS = ["Status", "Context", "Decision", "Consequences", "Revisit when"]
PAGE_OF_WORDS = 400
IN_REPOSITORY = re.compile(r"(?:services|schemas|tests|scripts|docs|requirements|\.ci)/[\w./-]*(?:::\w+)?")
TWO_SENTENCES = re.compile(r"[a-z`)][.!?] +[A-Z]")


def named(path: Path) -> str:
    """Return the name of a page, for pytest."""
    return str(path.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", pages(), ids=named)


def spans(page: Path, kind: str) -> Iterator[str]:
    """Yield the contents of all code spans, or the targets of all links, of a page."""
    for token in tokens(page.read_text()):
        for child in token.children or ():
            if child.type == kind:
                yield child.content if kind == "code_inline" else str(child.attrs["href"])


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    stream = tokens(page.read_text())
    titles = [stream[index + 1].content for index, token in enumerate(stream) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
async def test_every_block_is_executed_by_some_test(page: Path, tmp_path: Path) -> None:
    """A block of a kind that no test knows is refused; pages that need no stack run here."""
    found = examples_of(page)
    if not any(example.needs_a_stack for example in found):
        for example in found:
            await execute(example, Place(tmp_path, {}, {}))


@each_page
def test_documents_on_pages_fit_their_schemas(page: Path) -> None:
    """A reader may take an example for the truth about the format."""
    models = {str(model.model_config["title"]): model for model in MODELS}
    for example in examples_of(page):
        if example.block.language == "json":
            document = json.loads(example.block.text)
            for name in example.block.words:
                models[name].model_validate(document)


@each_page
def test_commands_that_a_page_cannot_run_are_run_elsewhere(page: Path) -> None:
    """Each one names a test, or a file, that exists."""
    for example in examples_of(page):
        if "elsewhere" in example.block.words:
            for line in filter(None, example.block.text.splitlines()):
                assert exists(ELSEWHERE[line.partition("#")[0].strip()]), line


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Within the repository; pages stand alone, so links to elsewhere are rare and not followed."""
    for target in spans(page, "link_open"):
        path, _, anchor = target.partition("#")
        if not target.startswith(("http://", "https://")):
            leads_to = (page.parent / path).resolve() if path else page
            assert leads_to.exists(), target
            assert not anchor or anchor in anchors(leads_to), target


@each_page
def test_paths_and_tests_that_a_page_names_exist(page: Path) -> None:
    """A promise that names its test must not outlive it."""
    for span in spans(page, "code_inline"):
        if IN_REPOSITORY.fullmatch(span):
            assert exists(span), span


def exists(place: str) -> bool:
    """Return whether the repository has a file, or a test in a file."""
    path, _, test = place.partition("::")
    file = ROOT / path
    return file.exists() and (not test or f"def {test}(" in file.read_text())


@each_page
def test_tests_in_a_table_are_in_the_file_that_its_header_names(page: Path) -> None:
    """A table of laws names their file once."""
    for rows in tables(page):
        if file := re.search(r"tests/[\w/]+\.py$", rows.header[-1]):
            assert [row for row in rows.rows if not exists(f"{file[0]}::{row[-1]}")] == []


@each_page
def test_each_sentence_has_a_line_of_its_own(page: Path) -> None:
    """So that a change of one sentence is a change of one line."""
    for text in prose(page):
        for line in re.sub(r"`[^`]*`", "`", text).splitlines():
            assert not TWO_SENTENCES.search(line), line


def prose(page: Path) -> Iterator[str]:
    """Yield the texts of a page that are not in tables, where a line is a row."""
    in_a_table = False
    for token in tokens(page.read_text()):
        in_a_table = token.type == "table_open" or (in_a_table and token.type != "table_close")
        if token.type == "inline" and not in_a_table:
            yield token.content


def test_every_page_can_be_reached_from_the_readme() -> None:
    """By links alone."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = ((page.parent / target.partition("#")[0]).resolve() for target in spans(page, "link_open"))
        waiting += [
            path for path in targets if path.suffix == ".md" and path.exists() and path not in reached
        ]

    assert set(pages()) - reached == set()


def test_generated_parts_of_pages_are_in_step() -> None:
    """`make generate` rewrites them."""
    assert reference.outdated() == {}


def test_every_generated_part_has_its_place() -> None:
    """Settings, metrics, errors and the rest are on some page."""
    text = "".join(page.read_text() for page in pages())

    assert [name for name in reference.PARTS if f"<!-- generated: {name} -->" not in text] == []


def test_every_command_has_a_section() -> None:
    """The page about commands says more about each than its line in the list."""
    sections = anchors(ROOT / "docs" / "commands.md")

    assert [row.name for row in COMMANDS if f"afterword-{row.name}" not in sections] == []


def test_every_route_is_on_a_page_about_http() -> None:
    """In the form in which a dialect declares it."""
    page = "".join((ROOT / "docs" / name).read_text() for name in ("http.md", "clients.md"))
    routes = {f"{route.method} {route.path}" for dialect in DIALECTS for route in dialect.routes}

    assert sorted(route for route in routes if route not in page) == []


decisions = pytest.mark.parametrize(
    "decision", sorted((ROOT / "docs" / "adr").glob("0*.md")), ids=lambda path: path.stem
)


@decisions
def test_a_decision_has_its_five_parts_on_one_page(decision: Path) -> None:
    """And its number in its title."""
    text = decision.read_text()

    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == DECISION_PARTS
    assert text.startswith(f"# {int(decision.stem[:4])}. ")
    assert len(text.split()) <= PAGE_OF_WORDS


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    """The index has a line for each."""
    files = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    listed = [
        target for target in spans(ROOT / "docs" / "adr" / "README.md", "link_open") if target[0] == "0"
    ]

    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    assert listed == [file.name for file in files]
