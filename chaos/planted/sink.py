"""Two worse sinks.

By default, one that commits offsets and positions before it writes: what it was about to write dies with it.
`PLANTED_SINK=trusting` is one that never looks whether ClickHouse still has what was stored in it.
"""

import os
import sys
from collections.abc import Mapping

from chaos.planted import once
from schemas.tables import SINK_POSITIONS
from schemas.topics import STATE_ROUTE
from services.runtime.clickhouse.insert import StoredPosition
from services.runtime.kafka.core.records import Partition
from services.sink import app, route_runner
from services.sink.__main__ import main
from services.sink.consumer import RouteConsumer
from services.sink.core.batch import SinkBatch
from services.sink.store import SinkStore

VARIANT, TRUSTING = "PLANTED_SINK", "trusting"


class CommitsFirst(RouteConsumer):
    """The order of the guarantee, the wrong way round."""

    async def _flush(self, batch: SinkBatch) -> None:
        positions = [*self._store._position_lines(batch)]
        await self._store._insert_all(SINK_POSITIONS, positions, None)
        await self._commit(batch)
        if batch.lines and self._route.name == STATE_ROUTE:
            once.die()
        await super()._flush(batch)


class Trusting(SinkStore):
    """Relies on positions that ClickHouse returned before."""

    def _compare(self, stored: Mapping[Partition, StoredPosition]) -> None:
        """Compare nothing."""


if __name__ == "__main__":
    if os.environ.get(VARIANT) == TRUSTING:
        vars(app)["SinkStore"] = Trusting
    else:
        vars(route_runner)["RouteConsumer"] = CommitsFirst
    sys.exit(main())
