"""The name of a class leads to one place, so that a search finds it."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("services", "schemas", "chdb_server")
PUBLISHED = ("services/query/api/models.py", "services/ingest/documentation.py")
"""Models of `/openapi.json`, whose names are part of the interface."""


def sources() -> Iterator[Path]:
    """Yield the paths of modules, from the root of the repository."""
    for package in PACKAGES:
        yield from (path.relative_to(ROOT) for path in sorted((ROOT / package).rglob("*.py")))


def test_no_class_name_is_used_twice() -> None:
    """Private and nested classes count, too."""
    places = defaultdict(list)
    for path in sources():
        if path.as_posix() not in PUBLISHED:
            for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(path.as_posix())

    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
