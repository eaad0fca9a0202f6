"""Pin every dependency with its hashes: for images, for the local stack, for tests, and uv itself.

The files record neither hosts nor paths, so they install from whichever index pip is set up for.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERVICES = ["ingest", "merger", "sink", "query", "client"]
FILES = {
    "service": (SERVICES, ["build"]),
    "local": ([*SERVICES, "local"], ["build"]),
    "dev": ([*SERVICES, "local"], ["build", "dev"]),
}


def compile_file(name: str, extras: list[str], groups: list[str], source: str = "pyproject.toml") -> None:
    """Write requirements/<name>.txt."""
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
    command += [*options, "-o", f"requirements/{name}.txt", source, *sys.argv[1:]]
    subprocess.run(command, cwd=ROOT, check=True, input=b"uv\n")


compile_file("uv", [], [], source="-")
for name, (extras, groups) in FILES.items():
    compile_file(name, extras, groups)
    print(f"requirements/{name}.txt")
