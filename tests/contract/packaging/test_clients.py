"""Afterword's own clients are packages of their own, with a license, and with examples that tests execute."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CLIENTS = sorted(path.parent for path in (ROOT / "clients").glob("*/README.md"))
each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda path: path.name)


def files_in_wheel(project: Path, folder: Path) -> set[str]:
    """Build the wheel of a project, and return the names of its files."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_of_the_python_client_has_its_modules_types_and_license(tmp_path: Path) -> None:
    """And nothing else."""
    client = ROOT / "clients" / "python"
    sources = {
        path.relative_to(client / "src").as_posix()
        for path in (client / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = files_in_wheel(client, tmp_path)
    about = {name for name in packed if ".dist-info/" in name}

    assert "afterword_client/py.typed" in sources
    assert packed - about == sources
    assert any(name.endswith("licenses/LICENSE") for name in about)


def test_the_wheel_of_the_services_has_no_client(tmp_path: Path) -> None:
    """Apps install the client alone, and services do not need it."""
    assert [name for name in files_in_wheel(ROOT, tmp_path) if "client" in name.split("/")[0]] == []


@each_client
def test_a_client_has_the_license_of_the_repository(client: Path) -> None:
    """A package must contain it, and packers do not follow links."""
    assert (client / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@each_client
def test_examples_of_a_client_are_those_of_the_page(client: Path) -> None:
    """The page's are executed."""
    fences = re.findall(r"^```\w.*?^```$", (client / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    page = (ROOT / "docs" / "clients.md").read_text()

    assert fences
    assert [fence for fence in fences if fence not in page] == []
