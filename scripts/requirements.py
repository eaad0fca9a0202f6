"""Pin every dependency with its hashes: images and their build, the local stack, tests, clients, and uv.

The files record neither hosts nor paths, so they install from whichever index pip is set up for.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERVICES = ["ingest", "merger", "sink", "query", "client"]
FILES = {
    "service": (SERVICES, []),
    "local": ([*SERVICES, "local"], ["build"]),
    "dev": ([*SERVICES, "local"], ["build", "dev"]),
}


def compile_file(name: str, extras: list[str], groups: list[str], given: list[str] | None = None) -> None:
    """Write requirements/<name>.txt: what pyproject.toml needs, or what is given instead."""
    options = [part for extra in extras for part in ("--extra", extra)]
    options += [part for group in groups for part in ("--group", group)]
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
    ]
    command += [
        "--generate-hashes",
        "--no-emit-find-links",
        "--no-emit-index-url",
        "--no-header",
        "--no-annotate",
    ]
    command += [
        *options,
        "-o",
        f"requirements/{name}.txt",
        "pyproject.toml" if given is None else "-",
        *sys.argv[1:],
    ]
    subprocess.run(command, cwd=ROOT, check=True, input="\n".join(given or ()).encode())


GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
compile_file("uv", [], [], ["uv"])
for name, (extras, groups) in FILES.items():
    compile_file(name, extras, groups)
    print(f"requirements/{name}.txt")
# What builds the image is what builds elsewhere.
compile_file("build", [], [], [*GROUPS["build"], "-c requirements/dev.txt"])
# Other systems' clients share no package with Afterword.
for name in (group for group in GROUPS if group.startswith("clients")):
    compile_file(name, [], [], GROUPS[name])
    print(f"requirements/{name}.txt")
