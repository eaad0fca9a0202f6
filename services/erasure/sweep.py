"""Keeps erased what is erased: deletes whatever lies at or below an erase of its request, however it came.

An event from before an erase can be stored after it: late, as a replayed dead letter, or because a topic is
read anew.  The merger ignores it, and no view shows it; a sweep takes it from the tables.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from services.erasure.core import statements
from services.erasure.core.statements import EVERY, noted_since
from services.erasure.log import Log
from services.erasure.tables import Tables
from services.erasure.work import settled

MARGIN = timedelta(minutes=2)
"""How much older than the last sweep a part may be and still be looked at: inserts take their time."""
WHOLE_AFTER = timedelta(days=1)
"""How often everything is looked at; in between, what was written since the last time."""
PATIENCE_SECONDS = 20.0


class Sweep:
    """Sweeps again and again.  It remembers only since when to look, and looks at all when that is lost."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._whole_at: datetime | None = None

    async def run(self, tables: Tables, log: Log) -> Mapping[str, int]:
        """Return how many rows went from each table."""
        now = await tables.now()
        merged = await settled(log, tables, PATIENCE_SECONDS)
        if merged is not None:
            await tables.run(statements.gather(log.topology.generation, merged))
        if self._since is None or self._whole_at is None or now - self._whole_at > WHOLE_AFTER:
            await tables.run(statements.gather_states())
            gone = Counter(await tables.delete(EVERY))
            self._whole_at = now
        else:
            since = self._since.isoformat(timespec="seconds")
            gone = Counter(await tables.delete(noted_since(since)))
            gone.update(await tables.delete(EVERY, since))
        self._since = now - MARGIN
        return gone
