"""The Python client delivers every event in order, whatever the server does, and never breaks the app."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from afterword_client import Feedback, NotQueuedError
from tests.support.ingest.fake_ingest import FakeIngest, serving
from tests.support.oracles.event_log import Row

SOURCES = Path(__file__).parents[3] / "clients" / "python" / "src"
UNREACHABLE = "http://127.0.0.1:9"
REJECTED = (
    "feedback on request '' was rejected: invalid_feedback: "
    "request_id: must be a string of 1 to 256 characters"
)


@pytest.fixture
def ingest() -> Iterator[FakeIngest]:
    """An ingest that misbehaves on request."""
    with serving(FakeIngest()) as server:
        yield server


def rows_of(ingest: FakeIngest) -> dict[str, Row]:
    """Return the latest state of each request."""
    return ingest.log.rows()


def lines(ingest: FakeIngest) -> list[bytes]:
    """Return the events of all batches, those of retries once."""
    bodies = dict(ingest.batches)
    assert len(bodies) == len(set(ingest.batches)), "a retry changed its bytes"
    return [line for body in bodies.values() for line in body.splitlines()]


def test_feedback_facts_and_retracts_become_the_row(ingest: FakeIngest) -> None:
    """Any keys, also those that are named like arguments."""
    with Feedback(ingest.url) as feedback:
        assert feedback.send("a", rating=1, comment="Wrong", self=1, request_id=2)
        assert feedback.retract("a")
        assert feedback.send("a", rating=5, tags=["späť", None], comment=None)
        assert feedback.facts("a", model="gpt-x", latency_ms=812.5)
        assert feedback.flush(30)
        row = rows_of(ingest)["a"]

    assert row.data == {"rating": 5, "tags": ["späť", None]}
    assert row.request == {"model": "gpt-x", "latency_ms": 812.5}


@pytest.mark.parametrize("fault", ["refuse", "limit", "drop", "lose", "part"])
def test_faults_cost_no_event_and_no_order(
    ingest: FakeIngest, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A retry has the key and the bytes of the first attempt, so ingest recognises what it has."""
    ingest.next.extend([fault, fault])
    with Feedback(ingest.url) as feedback:
        for number in range(20):
            feedback.send(f"r{number % 4}", rating=number)
        assert feedback.flush(60)

    assert len(ingest.batches) > len({key for key, _ in ingest.batches})
    assert len(lines(ingest)) == 20
    assert sum("are sent again" in text for text in messages(caplog)) == 1
    for place, row in rows_of(ingest).items():
        ratings = [event.data["rating"] for event in row.admitted]
        assert ratings == list(range(int(place[1]), 20, 4))


def test_a_server_that_is_away_gets_everything_once_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    """On the port where it was."""
    first = FakeIngest()
    with serving(first):
        feedback = Feedback(first.url)
        feedback.send("a", rating=1)
        assert feedback.flush(30)
    feedback.send("b", rating=2)
    assert not feedback.flush(0.01)
    with serving(FakeIngest(), port=int(first.url.rpartition(":")[2])) as second:
        feedback.send("c", rating=3)
        assert feedback.close(30)

    assert list(rows_of(second)) == ["b", "c"]
    assert sum("are sent again" in text for text in messages(caplog)) == 1


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the client logged as a warning or an error."""
    found = [one for one in caplog.records if one.name == "afterword_client"]
    return [one.getMessage() for one in found if one.levelno >= logging.WARNING]


def test_a_rejected_event_is_logged_once_and_the_others_are_stored(
    ingest: FakeIngest, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if its batch had to be sent again; without its content."""
    ingest.next.append("part")
    with Feedback(ingest.url) as feedback:
        feedback.send("", comment="private")
        feedback.send("a", rating=5)
        assert feedback.flush(30)

    assert list(rows_of(ingest)) == ["a"]
    assert [text for text in messages(caplog) if "rejected" in text] == [REJECTED]
    assert "private" not in caplog.text


def test_a_refused_batch_is_dropped_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    """It would be refused each time, and later ones are not held up."""
    with serving(FakeIngest(key="right")) as ingest:
        with Feedback(ingest.url, "wrong") as feedback:
            feedback.send("a", rating=5)
            assert feedback.flush(30)
        with Feedback(ingest.url, "right") as other:
            other.send("b", rating=5)

    assert list(rows_of(ingest)) == ["b"]
    assert feedback.dropped == 1
    assert messages(caplog) == [
        "1 event(s) of feedback were dropped: 401 unauthenticated: a valid key is required"
    ]


def test_a_full_queue_drops_what_is_new_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    """The app is not held up, and learns it from the result, the counter and the log."""
    feedback = Feedback(UNREACHABLE, max_events=3)
    queued = [feedback.send("a", rating=number) for number in range(10)]

    assert queued == [True] * 3 + [False] * 7
    assert feedback.dropped == 7
    assert [text for text in messages(caplog) if "full" in text] == [
        "1 event(s) of feedback were dropped: the queue is full"
    ]
    assert not feedback.close(0)
    assert feedback.dropped == 10
    assert messages(caplog)[-1] == "3 event(s) of feedback were not sent before the client closed"


def test_the_queue_is_bounded_in_bytes_too(ingest: FakeIngest) -> None:
    """And has room again after a delivery."""
    with Feedback(ingest.url, max_bytes=3000) as feedback:
        assert not feedback.send("a", comment="x" * 4000)
        for _ in range(5):
            assert feedback.send("b", comment="x" * 2000)
            assert feedback.flush(30)


def test_a_strict_client_raises_instead() -> None:
    """For tests of the app, and for scripts."""
    feedback = Feedback(UNREACHABLE, strict=True, max_events=1)
    with pytest.raises(NotQueuedError, match="not JSON"):
        feedback.send("a", rating=float("nan"))
    feedback.send("a", rating=1)
    with pytest.raises(NotQueuedError, match="the queue is full"):
        feedback.send("a", rating=2)
    feedback.close(0)
    with pytest.raises(NotQueuedError, match="the client is closed"):
        feedback.send("a", rating=3)


class Volatile(dict[str, Any]):
    """A value that changes while it is read, as one that two threads share."""

    def items(self) -> Any:
        """Fail as a dict does then."""
        raise RuntimeError("dictionary changed size during iteration")


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud800", Volatile(a=1), b"bytes"])
def test_a_value_that_is_not_json_is_dropped(value: object, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised in the app's path."""
    with Feedback(UNREACHABLE) as feedback:
        assert not feedback.send("a", rating=value)

    assert feedback.dropped == 1
    assert "since it is not JSON" in messages(caplog)[0]


def test_threads_share_a_client(ingest: FakeIngest) -> None:
    """Each one's events keep their order."""
    with Feedback(ingest.url) as feedback, ThreadPoolExecutor(8) as threads:

        def send_all(name: str) -> list[bool]:
            return [feedback.send(name, rating=number) for number in range(200)]

        assert all(map(all, threads.map(send_all, "abcdefgh")))
        assert feedback.flush(30)

    assert {name: row.data for name, row in rows_of(ingest).items()} == {
        name: {"rating": 199} for name in "abcdefgh"
    }
    assert len(lines(ingest)) == 1600


async def test_coroutines_wait_without_holding_up_the_loop(ingest: FakeIngest) -> None:
    """Calls are the same; only flushing and closing are awaited."""
    async with Feedback(ingest.url) as feedback:
        feedback.send("a", rating=5)
        assert await feedback.aflush(30)
        feedback.send("a", rating=4)

    assert rows_of(ingest)["a"].data == {"rating": 4}


@contextmanager
def redirecting(target: str) -> Iterator[str]:
    """Serve redirects to another server."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(302)
            self.send_header("Location", f"{target}/v1/events")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_redirect_is_not_followed(ingest: FakeIngest, caplog: pytest.LogCaptureFixture) -> None:
    """It would take the key to another server, and lose the body."""
    with redirecting(ingest.url) as url, Feedback(url, "key") as feedback:
        feedback.send("a", rating=5)
        assert feedback.flush(30)

    assert ingest.requests == []
    assert messages(caplog) == ["1 event(s) of feedback were dropped: 302"]


def interpreters() -> Iterator[str]:
    """Yield this Python and others, whose threads end differently, where they are installed and run."""
    yield sys.executable
    for name in ("python3.9", "python3.12", "python3.13"):
        found = shutil.which(name)
        if found and not subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode:
            yield found


each_interpreter = pytest.mark.parametrize("python", list(interpreters()), ids=lambda path: Path(path).name)


def run(python: str, program: str, url: str) -> str:
    """Run a program with a client of `url`; return what it logged."""
    prelude = f"import atexit, os, sys, threading\nfrom afterword_client import Feedback\nurl = {url!r}\n"
    command = [python, "-W", "error", "-c", prelude + program]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


@each_interpreter
def test_what_is_queued_is_delivered_at_exit(ingest: FakeIngest, python: str) -> None:
    """Also what the app sends as its last act, and where no thread can be started."""
    run(python, "feedback = Feedback(url)\nfor n in range(2000): feedback.send('a', rating=n)", ingest.url)
    run(python, "feedback = Feedback(url)\natexit.register(feedback.send, 'b', rating=1)", ingest.url)
    run(
        python,
        "feedback = Feedback(url)\nthreading.stack_size(1 << 46)\nfeedback.send('c', rating=2)",
        ingest.url,
    )

    assert {name: row.data["rating"] for name, row in rows_of(ingest).items()} == {"a": 1999, "b": 1, "c": 2}
    assert len(lines(ingest)) == 2002


@each_interpreter
def test_an_exit_does_not_wait_for_an_unreachable_server_for_ever(python: str) -> None:
    """What was not sent is counted in the log."""
    logged = run(python, "Feedback(url, exit_timeout=0.2).send('a', rating=1)", UNREACHABLE)

    assert "1 event(s) of feedback were not sent before the client closed" in logged


IMPORTS = """
feedback = Feedback(url)
before = set(sys.modules)
for request_id in ("a", ""):
    feedback.send(request_id, rating=1)
    assert feedback.flush(30)
assert set(sys.modules) == before, set(sys.modules) - before
"""


@each_interpreter
def test_the_thread_imports_nothing(ingest: FakeIngest, python: str) -> None:
    """A fork in the middle of an import would leave the child with a part of the module."""
    ingest.next.extend(["refuse", "drop", "strange"])
    run(python, IMPORTS, ingest.url)


FORK = """
feedback = Feedback(url)
for n in range(100): feedback.send("parent", rating=n)
child = os.fork()
feedback.send("child" if child == 0 else "parent", rating=100)
if child == 0:
    assert feedback.flush(30)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@each_interpreter
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_sends_nothing_twice_and_the_child_sends_its_own(ingest: FakeIngest, python: str) -> None:
    """The parent has a thread and a queue; the child begins without either."""
    run(python, "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)" + FORK, ingest.url)

    assert {name: row.data for name, row in rows_of(ingest).items()} == {
        "parent": {"rating": 100},
        "child": {"rating": 100},
    }
    assert len(lines(ingest)) == 102
