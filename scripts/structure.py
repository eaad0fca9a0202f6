"""Print the structure of the code in figures, or the files that a test passes through.

    python -m scripts.structure
    python -m scripts.structure tests/integration/ingest/test_edge.py

With tests, it lists the files of services, schemas and chdb_server in which a function was called while the
tests themselves ran, without their fixtures.
"""

import ast
import re
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("services", "schemas", "chdb_server")


def modules() -> dict[str, Path]:
    """Return the path of each module, by its dotted name."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return {_dotted(path): path for path in paths}


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def importers(known: dict[str, Path]) -> Counter[str]:
    """Count the modules that import each module."""
    return Counter(
        target for path in known.values() for target in set(_imports(ast.parse(path.read_text()), known))
    )


def _imports(tree: ast.Module, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            below = {f"{node.module}.{alias.name}" for alias in node.names} & known.keys()
            yield from below
            if len(below) < len(node.names):
                yield node.module


def classes(known: dict[str, Path]) -> Counter[str]:
    """Count the definitions of each class name, at the top of a module or within a class."""
    pattern = re.compile(r"^(?: {4})?class (\w+)", re.MULTILINE)
    return Counter(name for path in known.values() for name in pattern.findall(path.read_text()))


def figures() -> Iterator[str]:
    """Yield the figures, a line each."""
    known = modules()
    lines = {name: len(path.read_text().splitlines()) for name, path in known.items()}
    filled = {name: count for name, count in lines.items() if not known[name].stem.startswith("__")}
    largest = max(filled, key=lambda name: filled[name])
    counts = importers(known)
    yield f"files: {len(known)}"
    yield f"lines: {sum(lines.values()):,}"
    yield f"median module: {statistics.median(filled.values()):.0f} lines"
    yield f"largest module: {largest}, {filled[largest]} lines"
    yield f"modules with one importer: {sum(1 for name in filled if counts[name] == 1)}"
    twice = sorted(name for name, count in classes(known).items() if count > 1)
    yield f"class names defined twice: {len(twice)}{': ' if twice else ''}{', '.join(twice)}"


class Passed:
    """A pytest plugin that notes the files of ours in which tests call functions."""

    def __init__(self) -> None:
        self.files: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:  # noqa: ARG002 (pytest's signature)
        """Profile the test, not its fixtures."""
        sys.setprofile(self._called)
        threading.setprofile(self._called)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _called(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES:
                self.files.add(str(path.relative_to(ROOT)))


def main(tests: list[str]) -> int:
    """Print the figures, or the files that tests pass through."""
    if not tests:
        print("\n".join(figures()))
        return 0
    passed = Passed()
    code = pytest.main(["-q", "-p", "no:randomly", *tests], plugins=[passed])
    print("\n".join([*sorted(passed.files), f"{len(passed.files)} files"]))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
