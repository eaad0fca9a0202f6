"""A sink that commits offsets and positions before it writes: what it was about to write dies with it."""

import sys

from schemas.tables import SINK_POSITIONS
from schemas.topics import STATE_ROUTE
from services.sink import lane
from services.sink.__main__ import main
from services.sink.batch import Batch
from services.sink.reader import Reader
from tests.chaos.planted import once


class CommitsFirst(Reader):
    """The order of the guarantee, the wrong way round."""

    async def _flush(self, batch: Batch) -> None:
        positions = [*self._store._position_lines(batch)]
        await self._store._insert_all(SINK_POSITIONS, positions, None)
        await self._commit(batch)
        if batch.lines and self._route.name == STATE_ROUTE:
            once.die()
        await super()._flush(batch)


if __name__ == "__main__":
    vars(lane)["Reader"] = CommitsFirst
    sys.exit(main())
