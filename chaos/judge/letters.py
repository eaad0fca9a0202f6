"""The dead letters against the truth: one of the merger for each record that cannot be merged.  Pure."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from chaos.judge.bodies import Headers, LogRecord, digest_of
from chaos.judge.truth import Became, Place
from chaos.judge.verdict import Findings, Kind, Where
from schemas.deadletters import DeadLetter, Reason, Stage, parse_headers

LetterPlace = tuple[str, int, int]
"""Dead-letter topic, partition and offset."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and a hash of the key and value that it carries."""

    story: DeadLetter
    key: bytes | None
    carries: bytes


def carried(key: bytes | None, value: bytes | None) -> bytes:
    """Return a hash of a record's key and value; null is not empty."""
    return digest_of(*("-" if part is None else "+" + part.hex() for part in (key, value)))


class LetterCheck:
    """What the dead-letter topics hold, committed records only."""

    def __init__(self, topic: str, findings: Findings) -> None:
        """`topic` is the events topic."""
        self._topic, self._findings = topic, findings
        self.letters: dict[LetterPlace, Letter] = {}
        self._merged_away: dict[Place, list[Letter]] = defaultdict(list)
        self._refused: list[Letter] = []
        self._dead: dict[Place, bytes] = {}

    def see(self, place: LetterPlace, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Take a dead letter."""
        try:
            story = parse_headers(headers)
        except ValueError as error:
            self._findings.add(Kind.INVENTED, Where.LETTERS_TOPIC, str(place), f"no dead letter: {error}")
            return
        letter = self.letters[place] = Letter(story, key, carried(key, value))
        if story.stage is Stage.MERGER:
            self._merged_away[story.original_partition, story.original_offset].append(letter)
        else:
            self._refused.append(letter)

    @property
    def crashed(self) -> frozenset[Place]:
        """The records that the merger gave up unseen, which no fold can know."""
        return frozenset(
            place
            for place, letters in self._merged_away.items()
            if any(letter.story.reason is Reason.CRASHED for letter in letters)
        )

    def owe(self, record: LogRecord) -> None:
        """Take note of a record that must be a dead letter."""
        self._dead[record.partition, record.offset] = carried(record.key, record.value)

    def finish(self, dead: dict[Place, Became], is_poison: Callable[[str, int, int], bool]) -> None:
        """Compare what is there with what must be; `is_poison` recognises what faults wrote."""
        for place, became in dead.items():
            self._compare(place, became, self._merged_away.get(place, []))
        for place, letters in self._merged_away.items():
            if place not in dead:
                detail = f"given up as {letters[0].story.reason}; nothing is wrong with it"
                self._findings.add(Kind.INVENTED, Where.LETTERS_TOPIC, self._named(place), detail)
            elif dead[place] is Became.CRASHED and not is_poison(self._topic, *place):
                self._findings.add(Kind.LOST, Where.STATE, self._named(place), "given up as crashed")
        for letter in self._refused:
            story = letter.story
            at = story.original_topic, story.original_partition, story.original_offset
            if not is_poison(*at):
                self._findings.add(Kind.INVENTED, Where.LETTERS_TOPIC, str(at), f"refused: {story.detail}")

    def _named(self, place: Place) -> str:
        return f"{self._topic}/{place[0]}@{place[1]}"

    def _compare(self, place: Place, became: Became, letters: list[Letter]) -> None:
        name = self._named(place)
        if not letters:
            self._findings.add(Kind.LOST, Where.LETTERS_TOPIC, name, f"no dead letter; it is {became}")
            return
        for _ in letters[1:]:
            self._findings.add(Kind.DUPLICATED, Where.LETTERS_TOPIC, name, f"{len(letters)} dead letters")
        reason, carries = letters[0].story.reason.value, letters[0].carries
        if reason != became.value:
            self._findings.add(Kind.WRONG, Where.LETTERS_TOPIC, name, f"given up as {reason}; it is {became}")
        if carries != self._dead[place]:
            self._findings.add(Kind.WRONG, Where.LETTERS_TOPIC, name, "it carries other bytes")
