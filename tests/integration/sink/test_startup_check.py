"""Whether a sink may start, checked while other sinks continue."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.topics import Topology
from services.pipeline.core.continuity import problems
from services.runtime.clickhouse.insert import StoredPosition
from services.runtime.kafka.core.records import Partition
from services.sink.core.routes import routes
from services.sink.settings import SinkSettings
from services.sink.startup_check import gather
from tests.integration.sink.test_flow import states
from tests.support.merger.state_log import ends, write
from tests.support.sink.doubles import InMemoryWriter


@dataclass
class BusyTables(InMemoryWriter):
    """The tables while another sink stores whatever comes, and something comes each time that one looks."""

    settings: SinkSettings | None = None

    async def positions(self, topics: Iterable[str]) -> dict[Partition, StoredPosition]:
        """Return positions at the end of the states, which has just moved."""
        assert self.settings is not None
        state = Topology(self.settings.kafka_topic_generation).state
        if state.name not in [*topics]:
            return {}
        await write(self.settings, state, states(0, 20))
        found = await ends(self.settings, state)
        return {(state.name, partition): StoredPosition(end, 0) for partition, end in enumerate(found)}


async def test_a_sink_may_start_while_another_one_continues(settings: SinkSettings) -> None:
    """What that one stored meanwhile may lie beyond an end that was looked at before."""
    ways = routes(Topology(settings.kafka_topic_generation))

    facts = await gather(settings, ways, BusyTables(settings=settings))

    assert [*problems(facts)] == []
    assert any(position.offset > 0 for position in facts.positions)
