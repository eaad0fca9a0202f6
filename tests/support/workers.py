"""How tests are divided among workers: what shares servers stays together, what takes long comes first.

xdist has groups of its own, by marks; but it hands them on in a place that pytest no longer reads.
"""

from xdist.scheduler import LoadScopeScheduling

QUICK = ("unit", "property", "contract", "counters")
TIERS = (*QUICK, "integration", "e2e", "chaos")

_LONGEST = (
    "e2e/docs/test_pages.py",
    "integration/resize/test_resize.py",
    "integration/recover/test_recover.py",
    "integration/sink/test_faults.py",
    "integration/merger/test_service.py",
    "integration/ingest/test_outage.py",
    "chaos/test_short.py",
    "integration/rebuild/test_tables.py",
    "integration/erasure/test_erase.py",
    "e2e/local/test_up.py",
    "e2e/pipeline/test_kills.py",
    "integration/sink/test_flow.py",
    "integration/dlq/test_replay.py",
    "integration/erasure/test_statements.py",
    "integration/verify/test_verify.py",
)
"""What takes minutes: begun last, it would keep one worker busy while the others have nothing left to do."""

_WITH_THE_STACK = (
    "e2e/clients/",
    "e2e/dashboard/",
    "e2e/pipeline/test_accepted.py",
    "e2e/pipeline/test_imports.py",
    "e2e/pipeline/test_judged_answers.py",
    "e2e/query/",
    "e2e/seeds/",
)
"""What uses the stack that runs from its first use to the end of the run."""
_OTHERS, _STACK, _QUICK = len(_LONGEST), len(_LONGEST) + 1, len(_LONGEST) + 2


def group_of(path: str) -> str:
    """Return what keeps a file of tests, a path below `tests`, on one worker with others."""
    if path.startswith(_WITH_THE_STACK):
        return "whole_stack"
    if path.startswith("integration/chdb_server/"):
        return "chdb_server"
    return path


def turn_of(path: str) -> int:
    """Return a file's place in a run with several workers: smaller ones are begun with earlier.

    The stack costs processor time as long as it runs, so it is started late; what is quick fills the end.
    """
    if path in _LONGEST:
        return _LONGEST.index(path)
    if path.startswith(QUICK):
        return _QUICK
    return _STACK if path.startswith(_WITH_THE_STACK) else _OTHERS


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out groups of files, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the group of a test."""
        return group_of(nodeid.split("::", 1)[0].removeprefix("tests/"))
