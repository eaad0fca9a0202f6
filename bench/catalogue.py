"""Which stages there are, and which benchmarks beside them, each with the first line of what it says."""

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from bench.stages import STAGES, Measure

_HERE = Path(__file__).parent
_PACKAGE = "bench"
_MARK = "\nif __name__ == "


class MissingStageError(Exception):
    """Raised before anything is measured, when a stage has no module: a run without it would look whole."""


def module_of(stage: str) -> str:
    """Return the name of a stage's module."""
    return f"{_PACKAGE}.{stage}.stage"


def measure_of(stage: str) -> Measure:
    """Return what measures a stage."""
    return cast("Measure", import_module(module_of(stage)).measure)


def check(stages: list[str]) -> None:
    """Raise MissingStageError, naming them, when stages have no module."""
    missing = [stage for stage in stages if not (_HERE / stage / "stage.py").exists()]
    if missing:
        files = ", ".join(f"bench/{stage}/stage.py" for stage in missing)
        raise MissingStageError(f"nothing measures {', '.join(missing)}: there is no {files}")


def about(stage: str) -> str:
    """Return what a stage's module says about itself."""
    spec = find_spec(module_of(stage)) if (_HERE / stage / "stage.py").exists() else None
    return _docstring(Path(spec.origin)) if spec and spec.origin else "missing"


def others() -> Iterator[tuple[str, str]]:
    """Yield the benchmarks that are no stages, by module: what it is about."""
    for path in sorted(_HERE.rglob("*.py")):
        parts = path.relative_to(_HERE).with_suffix("").parts
        if parts[0] not in (*STAGES, "__main__", "files") and _MARK in path.read_text():
            yield ".".join((_PACKAGE, *parts)), _first(_docstring(path))


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def _first(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split()).partition(":")[0].rstrip(".")


def described() -> str:
    """Return the lists of both, as text."""
    stages = [f"  {name:8} {_first(about(name))}" for name in STAGES]
    rest = [f"  python -m {module}\n      {text}" for module, text in others()]
    return "\n".join(("stages:", *stages, "", "beside them, each on its own:", *rest))
