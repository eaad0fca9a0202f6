"""A batch in runs: events that are judged, stamped and queued together, without a pause.  Pure.

Only as long as nothing is the matter: a run in which anything is goes event by event instead.
"""

from collections.abc import Iterator

from schemas.events import Op
from services.ingest.core.items import Item
from services.ingest.dialects.dialect import Submission
from services.ingest.dialects.native import read_event

RUN_ITEMS = 64
RUN_BYTES = 64 << 10
"""Far less than a turn takes, and less than the largest event."""


def runs(items: list[Item]) -> Iterator[list[Item]]:
    """Yield the items in runs; a large one is a run of its own."""
    run: list[Item] = []
    size = 0
    for item in items:
        size += len(item[1])
        if run and (size > RUN_BYTES or len(run) == RUN_ITEMS):
            yield run
            run, size = [], len(item[1])
        run.append(item)
    if run:
        yield run


def read_run(run: list[Item]) -> list[Submission] | None:
    """Return what a run says, if all of it is to be merged, and None otherwise; raise Rejection.

    A run of one may be too large.
    """
    if len(run) == 1:
        return None
    submissions = [read_event(body) for _, body in run]
    return submissions if all(one.op is Op.MERGE for one in submissions) else None
