"""Every name of Faust and aiokafka that the merger overrides or reaches into: no upgrade may move one."""

import inspect
from importlib.metadata import version
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from services.merger.faust_transport import BatchApp, BatchConsumer, BatchSchema, BatchThread, BatchTransport

OVERRIDDEN = [
    (BatchThread, driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
    (
        BatchThread,
        driver.AIOKafkaConsumerThread,
        "_fetch_records",
        ["self", "consumer", "active_partitions", "timeout", "max_records"],
    ),
    (BatchConsumer, driver.Consumer, "_new_consumer_thread", ["self"]),
    (BatchConsumer, driver.Consumer, "_getmany", ["self", "active_partitions", "timeout"]),
    (BatchConsumer, driver.Consumer, "_to_message", ["self", "tp", "record"]),
    (BatchConsumer, driver.Consumer, "commit", ["self", "topics", "start_new_transaction"]),
    (BatchConsumer, driver.Consumer, "on_buffer_full", ["self", "tp"]),
    (BatchConsumer, driver.Consumer, "verify_event_path", ["self", "now", "tp"]),
    (BatchSchema, faust.Schema, "loads_key", ["self", "app", "message", "loads", "serializer"]),
    (BatchSchema, faust.Schema, "loads_value", ["self", "app", "message", "loads", "serializer"]),
    (BatchApp, faust.App, "_new_transport", ["self"]),
]


def test_the_pinned_release_is_installed() -> None:
    """What follows was read in the source of this one."""
    assert version("faust-streaming") == "0.15.3"
    assert version("aiokafka").startswith("0.14.")


@pytest.mark.parametrize(("ours", "theirs", "name", "parameters"), OVERRIDDEN, ids=str)
def test_what_is_overridden_is_there(ours: type, theirs: type, name: str, parameters: list[str]) -> None:
    """By name and by signature; else the override would silently never be called."""
    for owner in (ours, theirs):
        assert list(inspect.signature(getattr(owner, name)).parameters) == parameters
    assert name in vars(ours)


def test_the_transport_makes_the_consumer_that_it_names() -> None:
    """`Consumer` of the transport, and `_acked`, `_acked_index`, `_gap` of that."""
    assert driver.Transport.Consumer is driver.Consumer
    assert BatchTransport.Consumer is BatchConsumer
    source = inspect.getsource(Consumer.__init__)
    assert all(f"self.{book} = " in source for book in ("_acked", "_acked_index", "_gap"))


def test_the_reach_into_aiokafka_is_right() -> None:
    """What is changed of a consumer is read when it starts, after that."""
    start = inspect.getsource(AIOKafkaConsumer.start)
    for name in ("isolation_level", "fetch_min_bytes", "fetch_max_wait_ms"):
        assert f"{name}=self._{name}" in start
    assert "self._client = " in inspect.getsource(AIOKafkaConsumer.__init__)


def test_faust_would_commit_past_what_is_in_flight() -> None:
    """Why its acknowledgements decide nothing here; the day this fails, look again."""
    consumer: Any = object.__new__(BatchConsumer)
    place = TP("events", 0)
    consumer._acked, consumer._acked_index = {place: [2586, 2587]}, {place: {2586, 2587}}
    consumer._gap, consumer._committed_offset = {place: None}, {place: 2585}

    assert Consumer._new_offset(consumer, place) == 2588
