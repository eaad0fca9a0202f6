"""`afterword send` towards a server that answers, refuses, cuts off and comes back."""

import gzip
import json
import os
import signal
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from services.operations.send.core.plan import LIMITS
from tests.support.ingest.fake_ingest import FakeIngest, serving
from tests.support.operations.command import Ended, afterword, started


@pytest.fixture
def ingest() -> Iterator[FakeIngest]:
    """A server that takes everything until it is told otherwise."""
    with serving(FakeIngest()) as running:
        yield running


def events(count: int, requests: int = 7) -> list[dict[str, Any]]:
    """Return numbered events of a few requests, in turn."""
    return [{"request_id": f"r{n % requests}", "data": {"number": n, f"n{n}": n}} for n in range(count)]


def lines(items: list[Any]) -> bytes:
    """Return the items as NDJSON; text stays as it is."""
    return b"".join((item if isinstance(item, str) else json.dumps(item)).encode() + b"\n" for item in items)


class Sending:
    """Calls of `afterword send` for one server, that share a state directory."""

    def __init__(self, ingest: FakeIngest, directory: Path) -> None:
        self.ingest, self.directory = ingest, directory

    @property
    def environ(self) -> dict[str, str]:
        """What the calls find in their environment."""
        state = str(self.directory / "state")
        return {"AFTERWORD_URL": self.ingest.url, "AFTERWORD_SEND_STATE_DIR": state}

    def file(self, content: bytes, name: str = "events.ndjson") -> Path:
        """Write a file to send."""
        path = self.directory / name
        path.write_bytes(content)
        return path

    def __call__(self, *arguments: str | Path) -> Ended:
        """Call it, and wait for its end."""
        return afterword("send", *arguments, environ=self.environ)


@pytest.fixture
def send(ingest: FakeIngest, tmp_path: Path) -> Sending:
    """`afterword send`, towards that server."""
    return Sending(ingest, tmp_path)


def numbers(ingest: FakeIngest) -> dict[str, list[int]]:
    """Return what counted of each request, in order."""
    return {name: [event.data["number"] for event in row.admitted] for name, row in ingest.log.rows().items()}


def expected_numbers(count: int, requests: int = 7) -> dict[str, list[int]]:
    """Return the same, as it has to be."""
    return {f"r{r}": list(range(r, count, requests)) for r in range(min(requests, count))}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lines.ndjson", lines(events(20))),
        ("no newline.ndjson", lines(events(20)).rstrip()),
        ("windows.ndjson", lines(events(20)).replace(b"\n", b"\r\n")),
        ("marked.ndjson", b"\xef\xbb\xbf" + lines(events(20))),
        ("array.json", json.dumps(events(20)).encode()),
        ("pretty.json", json.dumps(events(20), indent=2).encode()),
        ("objects.json", "\n".join(json.dumps(event, indent=2) for event in events(20)).encode()),
        ("lines.ndjson.gz", gzip.compress(lines(events(20)))),
        ("two members.gz", gzip.compress(lines(events(20)[:9])) + gzip.compress(lines(events(20)[9:]))),
        ("array.json.zst", zstd.compress(json.dumps(events(20)).encode())),
        ("wrongly named.ndjson", gzip.compress(lines(events(20)))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_of_file_arrives(send: Sending, name: str, content: bytes) -> None:
    """Known by what is in it, not by its name."""
    ended = send(send.file(content, name))

    assert ended.code == 0, ended.err
    assert numbers(send.ingest) == expected_numbers(20)
    assert "20 accepted, 0 rejected" in ended.out


def test_one_object_is_a_file(send: Sending) -> None:
    """Written over several lines or on one."""
    path = send.file(json.dumps({"request_id": "a", "data": {"number": 1}}, indent=4).encode(), "one.json")

    assert send(path).code == 0
    assert numbers(send.ingest) == {"a": [1]}


def test_multiple_files_are_sent_in_their_order(send: Sending) -> None:
    """The second file's events are later ones."""
    first, second = send.file(lines(events(10)[:5]), "1"), send.file(lines(events(10)[5:]), "2")

    ended = send(first, second, "--json")

    assert [json.loads(line)["accepted"] for line in ended.out.splitlines()] == [5, 5]
    assert numbers(send.ingest) == expected_numbers(10)


def test_rejects_are_reported_with_their_lines_and_kept(send: Sending, tmp_path: Path) -> None:
    """The rest arrives, the exit code is 1, and the reject file has what to mend."""
    path = send.file(lines([events(1)[0], "nonsense", "", {"request_id": 7}, {"request_id": "a", "data": 1}]))
    rejects = tmp_path / "rejects.ndjson"

    ended = send(path, "--rejects", rejects)

    assert ended.code == 1
    assert numbers(send.ingest) == {"r0": [0]}
    assert f"{path}:2: malformed_json: not JSON: " in ended.err
    assert f"{path}:4: invalid_feedback: request_id" in ended.err
    assert f"{path}:5: invalid_feedback: data" in ended.err
    assert "1 accepted, 3 rejected" in ended.out
    kept = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert sorted((reject["line"], reject["code"], reject["event"]) for reject in kept) == [
        (2, "malformed_json", "nonsense"),
        (4, "invalid_feedback", '{"request_id": 7}'),
        (5, "invalid_feedback", '{"request_id": "a", "data": 1}'),
    ]
    assert {reject["file"] for reject in kept} == {str(path)}


def test_many_rejects_do_not_flood_the_terminal(send: Sending, tmp_path: Path) -> None:
    """Some are shown, all are kept."""
    rejects = tmp_path / "rejects.ndjson"

    ended = send(send.file(b"x\n" * 300), "--rejects", rejects)

    assert len(ended.err.splitlines()) < 30
    assert "--rejects FILE writes all of them" in ended.err
    assert len(rejects.read_text().splitlines()) == 300


@pytest.mark.parametrize("mishap", ["refuse", "limit", "drop", "lose", "part"])
def test_a_mishap_costs_time_but_no_event(send: Sending, mishap: str) -> None:
    """503, 429, a cut connection before or after, a batch taken in part: in the end it is all there, once."""
    send.ingest.next.extend([mishap] * 6)

    ended = send(send.file(lines(events(60))))

    assert ended.code == 0, ended.err
    assert numbers(send.ingest) == expected_numbers(60)
    assert "60 accepted, 0 rejected" in ended.out


def test_retry_after_is_honoured(send: Sending) -> None:
    """The server's word counts when it is longer than the own pause."""
    send.ingest.retry_after = "1"
    send.ingest.next.append("limit")

    ended = send(send.file(lines(events(1))))

    assert "waiting 1.0 s: 429 rate_limited" in ended.err


def test_a_file_that_was_sent_is_not_sent_again(send: Sending) -> None:
    """Unless one says so: then every event is a new statement."""
    path = send.file(lines(events(20)))
    send(path)

    again, restarted = send(path), send(path, "--restart")

    assert "sent already" in again.out
    assert again.code == 0
    assert "20 accepted" in restarted.out
    assert len(send.ingest.log.events) == 40
    assert numbers(send.ingest)["r0"] == [0, 7, 14] * 2


def test_sent_already_with_rejects_is_still_1(send: Sending) -> None:
    """A script that looks only at the exit code learns the same from the second call."""
    path = send.file(b"nonsense\n")

    assert send(path).code == 1
    assert send(path).code == 1


def test_a_file_that_grew_is_gone_on_with(send: Sending) -> None:
    """A log is sent each night: only what is new travels."""
    path = send.file(lines(events(10)))
    send(path)
    send.file(lines(events(30)))

    ended = send(path)

    assert "20 events in" in ended.out
    assert len(send.ingest.log.events) == 30
    assert numbers(send.ingest) == expected_numbers(30)


def test_a_file_that_was_replaced_is_sent_from_the_start(send: Sending) -> None:
    """It was sent to its end, so the new one is another file under the same name."""
    path = send.file(lines(events(10)))
    send(path)
    send.file(lines([{"request_id": "new", "data": {"number": 1}}]))

    assert send(path).code == 0
    assert numbers(send.ingest)["new"] == [1]


def test_a_file_that_changed_while_half_sent_is_refused(send: Sending) -> None:
    """Going on in the middle of another file would be a mess; starting again would undo what is newer."""
    path = _half_sent(send)
    path.write_bytes(b" " + path.read_bytes())

    ended = send(path)

    assert ended.code == 2
    assert "--restart" in ended.err


def _half_sent(send: Sending) -> Path:
    """Return a file of two chunks, of which the first is sent, known to be, and nothing of the second is."""
    first, second = events(LIMITS.chunk_entries, requests=1000), events(LIMITS.chunk_entries, requests=1000)
    path = send.file(lines(first) + lines([{**event, "request": {"held": "back"}} for event in second]))
    send.ingest.held_back = b'"held"'
    with started("send", path, environ=send.environ) as process:
        _wait_for(lambda: _place(send) > 0)
        process.kill()
    send.ingest.held_back = None
    assert len(send.ingest.log.events) == LIMITS.chunk_entries
    return path


def _place(send: Sending) -> int:
    """Return up to where the one file is known to be sent."""
    stored = list((send.directory / "state").glob("*.json"))
    return int(json.loads(stored[0].read_text())["place"]["offset"]) if stored else 0


def _wait_for(met: Any, within: float = 30.0) -> None:
    pause = threading.Event()
    for _ in range(int(within / 0.005)):
        if met():
            return
        pause.wait(0.005)
    raise AssertionError(f"not within {within} s")


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_after_kill_9_the_same_call_continues(send: Sending, packed: Any) -> None:
    """What was sent is not sent again but for the batches in flight, and all of it counts once, in order."""
    count = 12_000
    path = send.file(packed(lines(events(count, requests=1000))))
    kills = 0
    for limit in (3_000, 8_000):
        with started("send", path, environ=send.environ) as process:
            _wait_for(lambda limit=limit: len(send.ingest.log.events) > limit or process.poll() is not None)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL

    ended = send(path, "--json")

    assert kills >= 1
    assert json.loads(ended.out)["accepted"] == count
    assert numbers(send.ingest) == expected_numbers(count, requests=1000)
    assert len(send.ingest.log.events) <= count + kills * 4 * LIMITS.batch_entries


def test_ctrl_c_explains_how_to_continue(send: Sending) -> None:
    """And ends with 130."""
    path = send.file(lines(events(10 * LIMITS.chunk_entries, requests=1000)))
    with started("send", path, environ=send.environ) as process:
        _wait_for(lambda: len(send.ingest.log.events) > 1000)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)

    assert process.returncode == 130
    assert b"Run the same command again to resume" in err
    assert b"Traceback" not in err


def test_two_calls_do_not_send_one_file_at_once(send: Sending) -> None:
    """Their batches would overtake each other."""
    path = send.file(lines(events(10 * LIMITS.chunk_entries, requests=1000)))
    with started("send", path, environ=send.environ):
        _wait_for(lambda: len(send.ingest.log.events) > 100)

        ended = send(path)

    assert ended.code == 2
    assert "another `afterword send`" in ended.err


def test_standard_input_is_sent_as_it_comes(send: Sending) -> None:
    """What has been written arrives though the pipe stays open."""
    with started("send", "-", environ=send.environ) as process:
        assert process.stdin is not None
        process.stdin.write(lines(events(5)))
        process.stdin.flush()
        _wait_for(lambda: len(send.ingest.log.events) == 5)
        process.stdin.write(lines(events(10)[5:]))
        out, _ = process.communicate(timeout=120)

    assert process.returncode == 0
    assert b"10 accepted, 0 rejected" in out
    assert numbers(send.ingest) == expected_numbers(10)


def test_ctrl_c_ends_a_wait_for_standard_input(send: Sending) -> None:
    """A read that never comes back does not keep the process."""
    with started("send", "-", environ=send.environ) as process:
        assert process.stdin is not None
        process.stdin.write(lines(events(1)))
        process.stdin.flush()
        _wait_for(lambda: len(send.ingest.log.events) == 1)
        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=120) == 130


def test_a_named_pipe_is_read_once(send: Sending, tmp_path: Path) -> None:
    """What a shell makes of `<(command)`: there is nothing to continue with."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with started("send", pipe, environ=send.environ) as process:
        pipe.write_bytes(lines(events(10)))
        out, _ = process.communicate(timeout=120)

    assert b"10 accepted" in out
    assert not (tmp_path / "state").exists()


def test_packed_standard_input(send: Sending) -> None:
    """Compression is seen in a pipe as well."""
    with started("send", "-", environ=send.environ) as process:
        out, _ = process.communicate(zstd.compress(lines(events(10))), timeout=120)

    assert b"10 accepted" in out


def test_an_unreachable_server_ends_with_75(tmp_path: Path) -> None:
    """With a hint, after seconds: the URL may be wrong."""
    gone = FakeIngest()
    with serving(gone):
        pass

    ended = Sending(gone, tmp_path)(Sending(gone, tmp_path).file(lines(events(1))), "--patience", "0.3")

    assert ended.code == 75
    assert "nothing answers at" in ended.err
    assert "afterword up" in ended.err


def test_a_server_that_never_takes_anything_ends_with_75(send: Sending) -> None:
    """After the patience that was asked for; the next call continues."""
    send.ingest.next.extend(["refuse"] * 100)

    ended = send(send.file(lines(events(1))), "--patience", "0.3")

    assert ended.code == 75
    assert "overloaded" in ended.err
    assert "Run the same command again to resume" in ended.err


def test_a_wrong_key_is_reported_at_once(tmp_path: Path) -> None:
    """No retry makes it right."""
    with serving(FakeIngest(key="right")) as ingest:
        send = Sending(ingest, tmp_path)
        path = send.file(lines(events(1)))

        wrong, right = send(path, "--key", "wrong"), send(path, "--key", "right")

    assert wrong.code == 2
    assert "refuses the key" in wrong.err
    assert right.code == 0


def test_a_key_in_the_url_is_used_and_not_shown(tmp_path: Path) -> None:
    """`/k/<key>` stands before every route; what is printed may be pasted anywhere."""
    with serving(FakeIngest()) as ingest:
        send = Sending(ingest, tmp_path)
        ingest.next.append("refuse")
        send(send.file(lines(events(1))), "--url", f"{ingest.url}/k/secret", "--patience", "0")
    gone = send(send.file(lines(events(1))), "--url", f"{ingest.url}/k/secret", "--patience", "0")

    assert ingest.requests == [("POST", "/k/secret/v1/events")]
    assert gone.code == 75
    assert "secret" not in gone.out + gone.err


def test_rejects_that_cannot_be_kept_are_reported_at_once(send: Sending, tmp_path: Path) -> None:
    """Before anything is sent."""
    ended = send(send.file(lines(events(1))), "--rejects", tmp_path / "nowhere" / "rejects")

    assert ended.code == 2
    assert "cannot write rejects" in ended.err
    assert not send.ingest.requests


def test_another_kind_of_server_is_reported_at_once(send: Sending) -> None:
    """A wrong URL is no outage."""
    send.ingest.next.append("strange")

    ended = send(send.file(lines(events(1))))

    assert ended.code == 2
    assert "is the URL right?" in ended.err


def test_damage_is_reported_behind_everything_before_it(send: Sending) -> None:
    """A file cut short in a download, or an array that never ends."""
    packed = gzip.compress(lines(events(3000, requests=100)), compresslevel=0)
    cut = send(send.file(packed[: len(packed) // 2], "cut.gz"))
    open_array = send(send.file(b'[{"request_id": "open", "data": {"number": 1}},\n{"request_', "open.json"))

    assert cut.code == 1
    assert "is damaged" in cut.err
    assert len(send.ingest.log.events) > 1000
    assert open_array.code == 1
    assert "open.json:2: the file ends inside the array" in open_array.err
    assert numbers(send.ingest)["open"] == [1]


TEXT = '{"request_id": "r", "data": {"comment": "café"}}\n'


@pytest.mark.parametrize(
    ("content", "kind", "cure"),
    [
        (TEXT.encode("utf-16"), "text in UTF-16", "iconv -f UTF-16 -t UTF-8"),
        (TEXT.encode("utf-16-le"), "text in UTF-16", "iconv -f UTF-16LE"),
        (TEXT.encode("utf-16-be"), "text in UTF-16", "iconv -f UTF-16BE"),
        (TEXT.encode("utf-32"), "text in UTF-32", "iconv -f UTF-32"),
        (b"request_id,rating\nr,5\n", "CSV", "--from csv"),
        (b"\xef\xbb\xbfrequest_id;rating\r\nr;5\r\n", "CSV", "--from csv"),
        (b"PK\x03\x04\x14\x00\x06\x00" + bytes(50), "an Excel workbook (.xlsx)", "save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "an Excel workbook (.xls)", "save it as CSV"),
        (b"PAR1" + bytes(50), "a Parquet file", "duckdb"),
        (b"<!doctype html><title>Sign in</title>", "HTML or XML", "export the data as JSON"),
        (gzip.compress(b"request_id\trating\nr\t5\n"), "CSV", "--from csv"),
    ],
    # The bytes would be the name of a test otherwise, and gzip's have the time in them.
    ids=[
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "csv",
        "csv-bom",
        "xlsx",
        "xls",
        "parquet",
        "html",
        "csv-gz",
    ],
)
def test_a_file_that_is_no_json_is_named_before_anything_is_sent(
    send: Sending, content: bytes, kind: str, cure: str
) -> None:
    """With what makes JSON of it: a usage error, not one reject for each of its lines."""
    ended = send(send.file(content))

    assert ended.code == 2
    assert f"this is {kind}" in ended.err
    assert cure in ended.err
    assert not send.ingest.log.rows()


def test_an_export_is_sent_by_time_and_resumed(send: Sending) -> None:
    """The newest row is the request's latest; a second call sends nothing, another mapping all."""
    rows = "".join(f"r{n % 7},{n},{n},2026-03-01T09:00:{n:02d}Z\n" for n in reversed(range(20)))
    path = send.file(f"Request,number,Same,at\n{rows}".encode(), "votes.csv")
    call = ("--from", "csv", "--map", "request_id=Request", "--map", "data.number=number")
    send.ingest.next.extend(["drop", "lose", "part"])

    ended = send(path, *call)

    assert ended.code == 0, ended.err
    assert numbers(send.ingest) == expected_numbers(20)
    assert "20 accepted, 0 rejected: sent already" in send(path, *call).out
    assert "20 accepted, 0 rejected; 20 events" in send(path, *call, "--map", "data.same=Same").out


def test_an_export_sent_in_part_is_resumed(send: Sending) -> None:
    """A second call sends the rest, each event once, in the order of the times."""
    rows = "".join(f"r{n % 7},{n},2026-03-01T09:00:{n:02d}Z\n" for n in reversed(range(20)))
    path = send.file(f"request_id,data.number,at\n{rows}".encode(), "votes.csv")
    send.ingest.held_back = b'"number":19'

    stopped = send(path, "--from", "csv", "--patience", "0")
    before = len(send.ingest.log.events)
    send.ingest.held_back = None
    ended = send(path, "--from", "csv")

    assert stopped.code == 75
    assert 0 < before < 20
    assert "20 accepted, 0 rejected" in ended.out
    assert "resumed after an earlier call" in ended.out
    assert numbers(send.ingest) == expected_numbers(20)
    assert len({event.event_id for event in send.ingest.log.events}) == 20


def test_faults_of_an_export_are_rejects(send: Sending, tmp_path: Path) -> None:
    """With line and reason, as the row is in the file; the rest is sent."""
    rejects = tmp_path / "rejects.ndjson"
    path = send.file(b"request_id,data.number:number\nr0,0\nr1,many\n", "votes.csv")

    ended = send(path, "--from", "csv", "--rejects", rejects)

    assert ended.code == 1
    assert numbers(send.ingest) == {"r0": [0]}
    assert f"{path}:3: invalid_feedback: column data.number:number has 'many', which is not a" in ended.err
    assert json.loads(rejects.read_text())["event"] == "r1,many"


def test_an_item_of_an_export_may_have_a_long_chat(send: Sending) -> None:
    """Far longer than any event may be: the chat is omitted."""
    item = {"data": {"rating": 1, "number": 0}, "meta": {"message_id": "m"}, "created_at": 1772355600}
    content = json.dumps([{**item, "snapshot": {"chat": "x" * (9 << 20)}}, {**item, "meta": {}}])

    ended = send(send.file(content.encode(), "feedbacks.json"), "--from", "openwebui")

    assert "1 accepted, 1 rejected" in ended.out
    assert ":1, item 2: invalid_feedback: meta.message_id is missing" in ended.err
    assert [event.data["rating"] for event in send.ingest.log.rows()["m"].admitted] == [1]


def test_a_mapping_that_does_not_fit_ends_the_call(send: Sending) -> None:
    """Before anything is sent, and nothing is kept of it."""
    path = send.file(b"id,rating\nr,5\n", "votes.csv")

    ended = send(path, "--from", "csv", "--map", "request_id=ID")

    assert ended.code == 2
    assert f"{path}: --map request_id=ID: there is no column ID; the columns are id, rating" in ended.err
    assert send(path, "--map", "request_id=id").code == 2
    assert not send.ingest.requests


def test_a_line_in_latin_1_is_rejected_with_the_conversion(send: Sending) -> None:
    """And the lines that are ASCII arrive."""
    ended = send(send.file(TEXT.encode("latin-1") + lines(events(1))))

    assert ended.code == 1
    assert ":1: malformed_json: not UTF-8 (byte 0xe9 at 45)" in ended.err
    assert "iconv -f WINDOWS-1252 -t UTF-8" in ended.err
    assert numbers(send.ingest) == {"r0": [0]}


@pytest.mark.parametrize("bad", ["{not json}", '{"data": {}}'])
def test_a_fault_in_an_array_names_its_item(send: Sending, bad: str, tmp_path: Path) -> None:
    """Whoever finds it, this command or ingest, also after an earlier call sent the items before it."""
    items = [json.dumps(event) for event in events(9)]
    items[6] = bad
    file = send.file(f"[{', '.join(items)}]".encode(), "events.json")
    rejects = tmp_path / "rejects.ndjson"
    ended = send(file, "--rejects", rejects)

    assert ended.code == 1
    assert "events.json:1, item 7: " in ended.err
    assert json.loads(rejects.read_text())["item"] == 7


@pytest.mark.parametrize("packed", [gzip.compress, zstd.compress])
def test_a_compressed_file_that_is_cut_reports_it(send: Sending, packed: Any) -> None:
    """And the whole one is sent behind what arrived of it."""
    content = lines(events(1_000))
    path = send.file(packed(content)[:-100], "events.ndjson.packed")
    cut = send(path)

    assert cut.code == 1
    assert "is damaged: it ends in the middle of the compressed data" in cut.err
    path.write_bytes(packed(content))
    assert send(path).code == 0
    assert numbers(send.ingest) == expected_numbers(1_000)


def test_an_empty_file_is_sent(send: Sending) -> None:
    """There is nothing to do, and nothing is wrong."""
    ended = send(send.file(b""))

    assert ended.code == 0
    assert "0 accepted, 0 rejected" in ended.out


def test_nothing_is_sent_without_a_place_for_progress(send: Sending, tmp_path: Path) -> None:
    """The message names the way out."""
    (tmp_path / "file").touch()

    ended = send(send.file(lines(events(1))), "--state-dir", tmp_path / "file" / "x")

    assert ended.code == 2
    assert "--state-dir" in ended.err
    assert not send.ingest.log.events


def test_a_line_too_long_is_rejected_and_not_held(send: Sending) -> None:
    """What no server would take is not even read into memory."""
    ended = send(send.file(b'{"request_id": "' + b"x" * (9 << 20) + b'"}\n' + lines(events(1))))

    assert ended.code == 1
    assert ":1: malformed_json: the line is longer than 8 MiB" in ended.err
    assert numbers(send.ingest) == {"r0": [0]}


def test_progress_names_neither_key_nor_events(send: Sending, tmp_path: Path) -> None:
    """The state file can be looked at by anybody."""
    send(send.file(lines(events(3))), "--key", "secret")

    (state,) = (tmp_path / "state").glob("*.json")
    held = json.loads(state.read_text())
    assert "secret" not in state.read_text() + state.name
    assert held["finished"]
    assert held["place"]["crc"] == zlib.crc32(lines(events(3)))
