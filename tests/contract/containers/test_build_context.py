"""What `docker build` is given is enough to build Afterword, and nothing more is given."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINES = (ROOT / ".dockerignore").read_text().splitlines()
GIVEN = [line.removeprefix("!") for line in LINES if line.startswith("!")]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what `.dockerignore` lets through, as Docker would."""
    folder = tmp_path_factory.mktemp("context")
    for name in GIVEN:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def test_everything_else_is_kept_out() -> None:
    """Data, environments and secrets never reach the engine: the first line refuses all."""
    rules = [line for line in LINES if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert "**/__pycache__" in rules


def test_the_image_copies_only_what_it_is_given(context: Path) -> None:
    """A path that is kept out would fail the build."""
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}

    assert names == set(GIVEN)
    assert all((context / name).exists() for name in names)


def test_the_package_builds_from_it_with_all_its_files(context: Path, tmp_path: Path) -> None:
    """Modules, SQL, JSON Schemas and lists: what is in the repository's packages is in the wheel."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=context, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    source = {
        str(path.relative_to(context))
        for package in ("schemas", "services")
        for path in (context / package).rglob("*")
        if path.is_file()
    }

    assert source <= packed
    assert any(name.endswith(".sql") for name in source)
