"""The routes: which topics are read, into which table, how a record becomes a row, where refused rows go.

To copy another topic into a table, add a route here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import DEAD_LETTERS_ROUTE, EVENTS_ROUTE, STATE_ROUTE, Topic, Topology
from services.runtime.kafka.core.records import LocatedRecordLike
from services.sink.core.rows import DEAD_LETTER_COLUMNS, dead_letter_line, event_line, state_line

Render = Callable[[LocatedRecordLike, int], bytes | None]
"""(record, generation) to a line of JSON; None to skip the record; MalformedRowError if it is no row."""


@dataclass(frozen=True, kw_only=True)
class SinkRoute:
    """A copy of topics from Kafka to a table of ClickHouse, with a consumer group and a task of its own.

    `columns` None means all that a line names.  `dead_letters` is the topic for rows that ClickHouse
    refuses; None for dead letters themselves, which stay in their topic and are only logged.
    `replaces`: a record replaces all earlier ones of its key, so only the newest of a batch is stored.
    """

    name: str
    topics: tuple[Topic, ...]
    group: str
    generation: int
    table: str
    render: Render
    columns: tuple[str, ...] | None = None
    dead_letters: Topic | None = None
    replaces: bool = False


def routes(topology: Topology) -> tuple[SinkRoute, ...]:
    """Return the routes of one generation of topics."""
    return (
        SinkRoute(
            name=STATE_ROUTE,
            topics=(topology.state,),
            group=topology.sink_group(STATE_ROUTE),
            generation=topology.generation,
            table=FEEDBACK_STATE,
            render=state_line,
            dead_letters=topology.state_dlq,
            replaces=True,
        ),
        SinkRoute(
            name=EVENTS_ROUTE,
            topics=(topology.events,),
            group=topology.sink_group(EVENTS_ROUTE),
            generation=topology.generation,
            table=FEEDBACK_EVENTS,
            render=event_line,
            dead_letters=topology.events_dlq,
        ),
        SinkRoute(
            name=DEAD_LETTERS_ROUTE,
            topics=(topology.events_dlq, topology.state_dlq),
            group=topology.sink_group(DEAD_LETTERS_ROUTE),
            generation=topology.generation,
            table=DEAD_LETTERS,
            render=dead_letter_line,
            columns=DEAD_LETTER_COLUMNS,
        ),
    )
