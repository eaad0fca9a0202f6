"""Ask whether known vulnerabilities are in what is pinned: `make audit`.

pip-audit asks a source of advisories; where none can be reached nothing is audited, and that is said, never
passed over.  Exit codes: 0 audited and nothing found, 1 something found, 75 not audited.  With
`--if-possible` the last is told and ends in 0, for checks that also run where no source can be reached.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
FILES = ("local", "dev")
"""Both together have everything that images, the stack and the tests install."""
SOURCE = "https://api.osv.dev/"
REACH_SECONDS = 5.0
CLEAN, FOUND, UNREACHABLE = 0, 1, 75


def is_reachable(source: str = SOURCE) -> bool:
    """Return whether the source of advisories answers at all."""
    try:
        with urlopen(source, timeout=REACH_SECONDS):  # noqa: S310 (an address of ours)
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def verdict(reports: Sequence[dict[str, Any] | None]) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print for pip-audit's reports; None is a missing report."""
    dependencies = [one for report in reports if report is not None for one in report["dependencies"]]
    lines = [
        f"{dependency['name']} {dependency['version']}: {fault['id']},"
        f" fixed in {' '.join(fault['fix_versions']) or '-'}"
        for dependency in dependencies
        for fault in dependency.get("vulns", ())
    ]
    skipped = [dependency["name"] for dependency in dependencies if "skip_reason" in dependency]
    if lines:
        return FOUND, sorted(set(lines))
    if skipped:
        return UNREACHABLE, [
            f"NOT AUDITED: {len(skipped)} packages could not be looked up, {skipped[0]} first"
        ]
    if None in reports or not dependencies:
        return UNREACHABLE, ["NOT AUDITED: pip-audit gave no report"]
    return CLEAN, [
        f"{len({dependency['name'] for dependency in dependencies})} packages audited: no known vulnerability"
    ]


def audited(name: str) -> dict[str, Any] | None:
    """Return pip-audit's report on a file of requirements, None when it made none."""
    path = ROOT / "requirements" / f"{name}.txt"
    command = (sys.executable, "-m", "pip_audit", "--requirement", str(path), "--require-hashes")
    options = (
        "--disable-pip",
        "--vulnerability-service",
        "osv",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    )
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        sys.stderr.write(done.stderr[-1000:])
        return None
    return report


def main(arguments: Sequence[str]) -> int:
    """Audit, print the result, and return the exit code."""
    if is_reachable():
        code, lines = verdict([audited(name) for name in FILES])
    else:
        code, lines = (
            UNREACHABLE,
            [f"NOT AUDITED for known vulnerabilities: no {SOURCE} from here"],
        )
    print("\n".join(lines))
    if code == UNREACHABLE:
        print("Run `make audit` where it can be reached.")
        return CLEAN if "--if-possible" in arguments else UNREACHABLE
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
