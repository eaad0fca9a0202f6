"""What an event costs ingest, counted and not timed: judging, stamping, queueing, asking Kafka, answering."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from bench.events import lines, partials
from schemas.identity import event_key
from services.ingest.core.content import BodyFormat, items_of, read_run, runs
from services.ingest.dialects import requesty
from services.ingest.event_builder import EventBuilder, Origin
from services.ingest.settings import IngestSettings
from services.runtime.http.keys import LOCAL_CALLER
from tests.support.counting import count
from tests.support.ingest.app import ingest_over
from tests.support.ingest.fake_log import FakeLog
from tests.support.kafka.fake_producer import FakeProducer, publisher_over

EVENTS = 500
NATIVE = Origin(LOCAL_CALLER, "native")
REQUESTY = Origin(LOCAL_CALLER, "requesty")


def a_builder(home: Path) -> EventBuilder:
    """Return a builder with a producer that needs no Kafka."""
    return EventBuilder(publisher_over(FakeProducer(), IngestSettings(afterword_home=home)), lambda: 10**18)


def test_a_line_is_judged() -> None:
    """From the body of a batch to what each of its events says."""
    body = next(lines(partials(EVENTS), EVENTS))

    def work() -> list[Any]:
        return [read_run(run) for run in runs(items_of(BodyFormat.LINES, body))]

    instructions, calls = count(work).each(EVENTS)
    assert instructions < 160
    assert calls < 16


async def test_a_line_is_queued(tmp_path: Path) -> None:
    """Stamped, written as JSON, and put into the record batch of its partition."""
    builder = a_builder(tmp_path)
    read = [read_run(run) for run in runs(items_of(BodyFormat.LINES, next(lines(partials(EVENTS), EVENTS))))]

    def work() -> None:
        for run in read:
            assert run is not None
            builder.submit_all(NATIVE, run, range(len(run)))

    instructions, calls = count(work).each(EVENTS)
    assert instructions < 310
    assert calls < 20


async def test_a_single_event_is_judged_and_queued(tmp_path: Path) -> None:
    """It alone pays for what the events of a run share."""
    builder = a_builder(tmp_path)
    bodies = [(item["request_id"], orjson.dumps({"data": item["data"]})) for item in partials(EVENTS)]

    def work() -> None:
        for request_id, body in bodies:
            builder.submit(REQUESTY, requesty.read(request_id, body))

    instructions, calls = count(work).each(EVENTS)
    assert instructions < 530
    assert calls < 42


def test_a_vote_on_a_shared_path_costs_as_much_as_under_its_prefix(tmp_path: Path) -> None:
    """It is decoded once: a valid body is the vote that it looks like."""
    app = ingest_over(FakeLog(), tmp_path)
    loop = asyncio.new_event_loop()

    async def vote(path: bytes) -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b'{"message_id":"m","rating":"positive"}'}

        async def send(_message: Any) -> None:
            return

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "raw_path": path, "headers": headers, "query_string": b""}
        await app({**scope, "path": path.decode(), "client": ("127.0.0.1", 1)}, receive, send)

    def calls(path: bytes) -> int:
        return count(lambda: loop.run_until_complete(vote(path))).calls

    try:
        assert calls(b"/v1/feedback/") < calls(b"/gptboost/v1/feedback/") + 15
    finally:
        loop.close()


async def test_produce_requests_for_a_thousand_events(tmp_path: Path) -> None:
    """A hundred callers, each with one event after another: what waits is gathered, without a timer."""
    producer = FakeProducer()
    publisher = publisher_over(producer, IngestSettings(afterword_home=tmp_path))

    async def caller(number: int) -> None:
        for turn in range(10):
            await publisher.publish(event_key("t", f"r{number}-{turn}"), b"{}")

    await asyncio.gather(*map(caller, range(100)))
    assert sum(producer.records) == 1_000
    assert producer.rounds <= 12


async def test_produce_requests_for_events_that_came_together(tmp_path: Path) -> None:
    """One for each 64 at most, however they are spread over partitions."""
    producer = FakeProducer()
    builder = EventBuilder(publisher_over(producer, IngestSettings(afterword_home=tmp_path)))
    ranges = []
    for run in runs(items_of(BodyFormat.LINES, next(lines(partials(EVENTS), EVENTS)))):
        submissions = read_run(run)
        assert submissions is not None
        ranges += builder.submit_all(NATIVE, submissions, range(len(run))).ranges
    await asyncio.gather(*(offsets.first for offsets in ranges))

    assert sum(producer.records) == EVENTS
    assert producer.rounds == 1
