"""A name of a class or of a module leads to one place, so that a search finds it."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("services", "schemas", "chdb_server")
PUBLISHED = ("services/query/api/models.py", "services/ingest/documentation.py")
"""Models of `/openapi.json`, whose names are part of the interface."""

# These lists only shrink: remove a name once it is unique.
SHARED_CLASSES = frozenset(
    [
        "Answer",
        "Asked",
        "Attempts",
        "Bar",
        "Batch",
        "Bounds",
        "Code",
        "Column",
        "DeadLetter",
        "Encoder",
        "Ending",
        "Entry",
        "Event",
        "Evidence",
        "Facts",
        "Fault",
        "Fetch",
        "Finding",
        "Found",
        "Generation",
        "Ground",
        "Judged",
        "Kept",
        "Kind",
        "Known",
        "Lane",
        "Ledger",
        "Letter",
        "Limits",
        "Lines",
        "Log",
        "Logged",
        "Mark",
        "Meaning",
        "Options",
        "Outcome",
        "Owner",
        "Page",
        "Part",
        "Partition",
        "Patience",
        "Place",
        "Places",
        "Plan",
        "Position",
        "Problem",
        "Progress",
        "Question",
        "Rates",
        "Refused",
        "RefusedError",
        "Rejection",
        "Report",
        "Request",
        "Result",
        "Route",
        "Row",
        "Runner",
        "Scope",
        "Seen",
        "Selection",
        "Sender",
        "Servers",
        "Service",
        "Shown",
        "Source",
        "Stage",
        "Standing",
        "Startable",
        "State",
        "Statement",
        "Step",
        "Store",
        "Stored",
        "Stretch",
        "Tables",
        "Tally",
        "Topic",
        "Turns",
        "Verdict",
        "Wanted",
        "Watch",
        "Work",
        "Writer",
        "_Answer",
        "_Event",
        "_Row",
        "_Run",
        "_Server",
    ]
)
SHARED_MODULES = frozenset(
    [
        "services/operations/migrate/retention.py",
        "services/query/api/erasures.py",
        "services/query/reads/dead_letters.py",
        "services/query/reads/history.py",
        "services/query/reads/listing.py",
    ]
)


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

    shared = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert {name: paths for name, paths in shared.items() if name not in SHARED_CLASSES} == {}


def test_no_module_name_is_used_twice_in_a_package() -> None:
    """A package and its `core` are one."""
    places = defaultdict(list)
    for path in sources():
        folder = path.parent.parent if path.parent.name == "core" else path.parent
        if path.name != "__init__.py":
            places[(folder / path.name).as_posix()].append(path.as_posix())

    shared = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert {name: paths for name, paths in shared.items() if name not in SHARED_MODULES} == {}
