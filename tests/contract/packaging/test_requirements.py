"""The pinned requirements files are in step with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICES = ("ingest", "merger", "sink", "query", "client")
FILES = {
    "service": ((*SERVICES,), ()),
    "local": ((*SERVICES, "local"), ("build",)),
    "dev": ((*SERVICES, "local"), ("build", "dev")),
}


def _wanted(extras: tuple[str, ...], groups: tuple[str, ...]) -> list[Requirement]:
    project = PROJECT["project"]
    lines = list(project["dependencies"])
    lines += [line for extra in extras for line in project["optional-dependencies"][extra]]
    lines += [line for group in groups for line in PROJECT["dependency-groups"][group]]
    return [Requirement(line) for line in lines]


def _pinned(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(package): version for package, version in pins}


@pytest.mark.parametrize("name", FILES)
def test_every_dependency_is_pinned(name: str) -> None:
    """Mend with `make requirements`: otherwise a fresh installation lacks what the code imports."""
    pins = _pinned(name)
    missing = [
        str(wanted)
        for wanted in _wanted(*FILES[name])
        if not wanted.specifier.contains(pins.get(canonicalize_name(wanted.name), "0"))
    ]

    assert missing == []


def test_the_image_s_build_tools_are_no_part_of_it() -> None:
    """They have a file of their own, and the services' file has none of them."""
    wanted = [Requirement(line) for line in PROJECT["dependency-groups"]["build"]]
    tools, services = _pinned("build"), _pinned("service")

    assert [str(one) for one in wanted if not one.specifier.contains(tools.get(one.name, "0"))] == []
    assert services.keys().isdisjoint({"pip", "setuptools", *(one.name for one in wanted)})


CLIENTS = [name for name in PROJECT["dependency-groups"] if name.startswith("clients")]


@pytest.mark.parametrize("name", CLIENTS)
def test_clients_of_other_systems_are_pinned(name: str) -> None:
    """Each file is an environment of its own, without Afterword's packages."""
    pins = _pinned(name)
    wanted = [Requirement(line) for line in PROJECT["dependency-groups"][name]]

    assert [str(one) for one in wanted if not one.specifier.contains(pins.get(one.name, "0"))] == []


@pytest.mark.parametrize("name", [*FILES, *CLIENTS, "uv", "build"])
def test_pins_record_hashes_and_no_place(name: str) -> None:
    """The files install from whichever index pip is set up for, and only what was pinned."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()

    assert text.count("==") > 0
    assert "://" not in text
    assert text.count("--hash=sha256:") >= text.count("==")


def test_the_files_agree_on_versions() -> None:
    """What is tested is what runs in images."""
    dev = _pinned("dev")

    assert {package: dev[package] for package in _pinned("service")} == _pinned("service")
    assert {package: dev[package] for package in _pinned("local")} == _pinned("local")
    assert {package: dev[package] for package in _pinned("build")} == _pinned("build")
