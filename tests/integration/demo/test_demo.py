"""`afterword demo`: traffic that says it is generated, through every door."""

import signal
import threading
from collections.abc import Iterator

import pytest

from services.operations.demo.core.traffic import GENERATED_BY
from tests.support.ingest.fake_ingest import FakeIngest, serving
from tests.support.operations.command import afterword, started


@pytest.fixture
def ingest() -> Iterator[FakeIngest]:
    """A server that takes everything until it is told otherwise."""
    with serving(FakeIngest()) as running:
        yield running


def test_it_sends_what_it_counts_and_shows_that_it_is_generated(ingest: FakeIngest) -> None:
    """On the screen, in the ids, and in the facts of each request; and it goes through every door."""
    ended = afterword("demo", "--url", ingest.url, "--rate", "1000", "--count", "400", "--seed", "4")

    assert ended.code == 0, ended.err
    assert len(ingest.log.events) == 400
    assert "Synthetic traffic: all requests, votes and comments are generated" in ended.err
    assert "seed 4" in ended.err
    assert ended.out.startswith("400 generated calls in ")
    rows = ingest.log.rows()
    assert all(name.startswith("demo-4-") for name in rows)
    assert {row.request["generated_by"] for row in rows.values() if row.request} == {GENERATED_BY}
    assert {(method, path.split("demo-")[0]) for method, path in ingest.requests} == {
        ("POST", "/feedback/"),
        ("DELETE", "/feedback/"),
        ("POST", "/v1/feedback/"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/requests/"),
    }


def test_retries_are_no_second_votes(ingest: FakeIngest) -> None:
    """A lost answer is asked for again under the same Idempotency-Key, in its place."""
    ingest.next.extend(["", "lose", "refuse", "drop", "limit"] * 4)
    afterword("demo", "--url", ingest.url, "--rate", "1000", "--count", "100", "--seed", "4")
    with serving(FakeIngest()) as calm:
        afterword("demo", "--url", calm.url, "--rate", "1000", "--count", "100", "--seed", "4")

    assert len(ingest.log.events) > 100
    assert _bodies(ingest) == _bodies(calm)


def _bodies(ingest: FakeIngest) -> dict[str, list[object]]:
    return {name: [event.data for event in row.admitted] for name, row in ingest.log.rows().items()}


def test_it_stops_after_the_duration(ingest: FakeIngest) -> None:
    """With as many calls as belong into that time."""
    ended = afterword("demo", "--url", ingest.url, "--rate", "100", "--duration", "1", "--seed", "4")

    assert ended.code == 0
    assert 50 < len(ingest.log.events) < 150


def test_ctrl_c_ends_it_with_a_summary(ingest: FakeIngest) -> None:
    """It runs until then, and 130 is the exit code."""
    with started("demo", "--url", ingest.url, "--rate", "50") as process:
        pause = threading.Event()
        while not ingest.log.events:
            assert process.poll() is None
            pause.wait(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)

    assert process.returncode == 130
    assert b"generated calls in" in out
    assert b"Traceback" not in err


def test_an_unreachable_server_ends_with_75() -> None:
    """With a hint."""
    gone = FakeIngest()
    with serving(gone):
        pass

    ended = afterword("demo", "--url", gone.url, "--count", "1", "--rate", "1000")

    assert ended.code == 75
    assert "afterword up" in ended.err
