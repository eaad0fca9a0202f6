"""What is not audited is never called audited."""

from typing import Any

import pytest

from scripts.audit import CLEAN, FOUND, UNREACHABLE, is_reachable, verdict

SOUND = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("reports", "code", "said"),
    [
        ([{"dependencies": [SOUND]}], CLEAN, "1 packages audited"),
        ([{"dependencies": [SOUND, BAD]}], FOUND, "c 2: PYSEC-1, fixed in 3"),
        ([{"dependencies": [BAD, SKIPPED]}, None], FOUND, "PYSEC-1"),
        ([{"dependencies": [SOUND, SKIPPED]}], UNREACHABLE, "NOT AUDITED"),
        ([{"dependencies": [SOUND]}, None], UNREACHABLE, "NOT AUDITED"),
        ([{"dependencies": []}], UNREACHABLE, "NOT AUDITED"),
        ([None], UNREACHABLE, "NOT AUDITED"),
    ],
)
def test_only_a_whole_report_is_an_audit(reports: list[dict[str, Any] | None], code: int, said: str) -> None:
    """A package that nobody looked up, or a report that did not come, is no clean bill."""
    found, lines = verdict(reports)

    assert found == code
    assert said in "\n".join(lines)


def test_a_source_that_does_not_answer_is_noticed() -> None:
    """A port where nobody listens."""
    assert not is_reachable("http://127.0.0.1:9/")
