"""What a run ran on: the machine, and the commit that was checked out."""

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

_ROOT = Path(__file__).parents[2]


def machine() -> dict[str, Any]:
    """Return the machine's facts: cores, processor, memory in GiB, system, Python."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit(written: Sequence[str] = ()) -> str:
    """Return what is checked out, with `+` where files differ from it.

    `written` are the files that the run itself writes, as paths from the root: they do not count.
    """
    head = _git("rev-parse", "--short=12", "HEAD")
    differs = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", *(f":(exclude){path}" for path in written)
    )
    return head + "+" * bool(differs) if head else "unknown"


def _git(*arguments: str) -> str:
    said = subprocess.run(("git", *arguments), cwd=_ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip()
