"""Whatever happens on the way, each event counts once, and a request's events count in the file's order."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from services.operations.core.answers import BatchSettled, EventRejection, RequestRefused, RetryLater
from services.operations.http_client import OutageLimit
from services.operations.send.core.plan import FileChunk, SendBatch, SendLimits, SendPlan, chunks, plan
from services.operations.send.core.progress import SendLedger, SendProgress
from services.operations.send.core.split import LineSplitter, SendEntry
from services.operations.send.lanes import SendLanes
from tests.support.oracles.event_log import EventLog

SMALL = SendLimits(chunk_entries=9, chunk_bytes=1000, batch_entries=3, batch_bytes=200)

files = st.builds(
    lambda often, mixed: [*often, *mixed],
    # More events of one request than ingest remembers, so that a repeat from too far back would count.
    st.integers(0, 15).map(lambda times: ["a"] * times),
    st.lists(st.sampled_from([*"aaaabcdefghij", "nonsense", "nameless"]), max_size=40),
)
mishaps = st.sampled_from(["answer lost", "refused", "partly", "late", "killed before", "killed after"])
happenings = st.builds(
    lambda calm, mixed: ["taken"] * calm + mixed,
    st.integers(0, 30),
    st.lists(st.just("taken") | mishaps, max_size=20),
)


class KilledError(Exception):
    """The end of the process, wherever it is."""


class Adversary:
    """An ingest and a network that do what the list says, request by request, and then behave."""

    def __init__(self, happenings: list[str]) -> None:
        self.log = EventLog()
        self._happenings = list(happenings)
        self._late: list[tuple[str, SendBatch]] = []

    async def __call__(self, key: str, batch: SendBatch) -> BatchSettled | RetryLater | RequestRefused:
        """Treat one request as the list says."""
        await asyncio.sleep(0)
        happening = self._happenings.pop(0) if self._happenings else "taken"
        if happening == "killed before":
            raise KilledError
        late, self._late = self._late, []
        if happening == "late":
            self._late.append((key, batch))
        elif happening == "partly":
            self._take(key, batch, range(1, len(batch.entries), 2))
        elif happening != "refused":
            self._take(key, batch, range(len(batch.entries)))
        # A request that nobody waits for any more arrives only now.
        for key_then, batch_then in late:
            self._take(key_then, batch_then, range(len(batch_then.entries)))
        await asyncio.sleep(0)
        if happening == "killed after":
            raise KilledError
        if happening != "taken":
            return RetryLater(happening)
        return BatchSettled(tuple(_nameless(batch)))

    def _take(self, key: str, batch: SendBatch, indexes: range) -> None:
        for index in indexes:
            item = json.loads(batch.entries[index].text)
            if "request_id" in item:
                self.log.append(item, key, index)

    def finish(self) -> None:
        """Let what is still on its way arrive."""
        for key, batch in self._late:
            self._take(key, batch, range(len(batch.entries)))


def _nameless(batch: SendBatch) -> Iterator[EventRejection]:
    for index, entry in enumerate(batch.entries):
        if b"request_id" not in entry.text:
            yield EventRejection(index, "invalid_feedback", "request_id: is missing")


class Told:
    """A report that remembers the lines it was told of."""

    def __init__(self) -> None:
        self.lines: list[int] = []

    def opened(self, chunk: FileChunk, left: int) -> None:
        """Nothing to remember."""

    def settled(self, batch: SendBatch, rejections: tuple[EventRejection, ...]) -> None:  # noqa: ARG002
        """Remember every line of the batch."""
        self.lines += [entry.line for entry in batch.entries]

    def faulty(self, entries: tuple[SendEntry, ...]) -> None:
        """Remember these lines, too."""
        self.lines += [entry.line for entry in entries]

    def waiting(self, why: str, seconds: float) -> None:
        """Nothing to remember."""


class Disk:
    """A state file: what survives a kill."""

    def __init__(self) -> None:
        self.held = SendProgress(run="run").encoded()

    def save(self, progress: SendProgress) -> None:
        """Replace what was held."""
        self.held = progress.encoded()


def content_of(names: list[str]) -> bytes:
    """Return a file with an event a line, numbered."""
    return b"".join(_line(number, name) for number, name in enumerate(names, 1))


def _line(number: int, name: str) -> bytes:
    if name == "nonsense":
        return b"nonsense\n"
    named = {} if name == "nameless" else {"request_id": name}
    return json.dumps({**named, "data": {"line": number}}).encode() + b"\n"


def pieces(content: bytes, progress: SendProgress) -> Iterator[tuple[FileChunk, SendPlan]]:
    """Return what a run that begins there reads and plans."""
    rest = content[progress.place.offset :]
    return ((chunk, plan(chunk, SMALL)) for chunk in chunks([rest], LineSplitter(progress.place), SMALL))


async def no_pause(_: float) -> None:
    """Wait for everyone's next step instead of for time."""
    await asyncio.sleep(0)


async def send_until_done(content: bytes, adversary: Adversary, told: Told, disk: Disk) -> SendProgress:
    """Send the file, and again after each kill, as a user would."""
    while not (progress := SendProgress.decoded(disk.held)).finished:
        lanes = SendLanes(
            post=adversary,
            ledger=SendLedger(progress),
            save=disk.save,
            report=told,
            patience=OutageLimit(60, now=lambda: 0),
            pause=no_pause,
        )
        try:
            await lanes.send(pieces(content, progress))
        except ExceptionGroup as ended:
            if ended.split(KilledError)[1]:
                raise
    return progress


@settings(max_examples=300)
@given(files, happenings)
def test_each_event_counts_once_and_in_the_order_of_the_file(names: list[str], happened: list[str]) -> None:
    """Lost answers, refusals, parts, late arrivals and kills change nothing in the end."""
    adversary, told = Adversary(happened), Told()

    progress = asyncio.run(send_until_done(content_of(names), adversary, told, Disk()))
    adversary.finish()

    expected: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names, 1):
        if len(name) == 1:
            expected[name].append(number)
    rows = adversary.log.rows()
    assert {name: [event.data["line"] for event in row.admitted] for name, row in rows.items()} == expected
    assert progress.finished
    assert progress.accepted == sum(map(len, expected.values()))
    assert progress.rejected == len(names) - progress.accepted
    assert set(told.lines) == set(range(1, len(names) + 1))


@given(files, happenings)
def test_without_kills_nothing_is_reported_twice(names: list[str], happened: list[str]) -> None:
    """A retry is no news."""
    told = Told()
    adversary = Adversary([happening for happening in happened if "killed" not in happening])

    asyncio.run(send_until_done(content_of(names), adversary, told, Disk()))

    assert sorted(told.lines) == list(range(1, len(names) + 1))
