"""The state topic against the truth, and each row's way along it.

Pure.  Along the topic no row, and no field of a row, may go back; at its end each row is what the log says.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chaos.judge.bodies import canonical, home_of, microseconds, value_of
from chaos.judge.truth import NEVER, Row, Shown, Truth
from chaos.judge.verdict import Findings, Kind, Where

Versions = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class State:
    """A record of the state topic.  `shown` is None for a row that is erased."""

    version: int
    erased: int
    retracted: int
    shown: Shown | None
    data: Versions
    request: Versions
    """The version of each key, cleared ones included."""


def state_of(value: bytes) -> State:
    """Return the content of a record; ValueError, KeyError or TypeError when it is no state."""
    row = value_of(value)
    if "is_deleted" in row:
        return State(row["erased"], row["erased"], NEVER, None, {}, {})
    private = row["merge"]
    shown = Shown(
        row["version"],
        microseconds(datetime.fromisoformat(row["first_received_at"])),
        microseconds(datetime.fromisoformat(row["last_received_at"])),
        tuple(row["sources"]),
        canonical(row["data"]),
        canonical(row["request"]),
    )
    return State(
        row["version"],
        private.get("erased", NEVER),
        private.get("retracted", NEVER),
        shown,
        _versions(row["data"], private.get("data", {})),
        _versions(row["request"], private.get("request", {})),
    )


def _versions(fields: Mapping[str, Any], kept: Mapping[str, Any]) -> Versions:
    older = kept.get("older", {})
    newest, cleared = kept.get("newest", NEVER), kept.get("cleared", {})
    return {**{key: older.get(key, newest) for key in fields}, **cleared}


@dataclass(slots=True)
class Latest:
    """The newest record of a key.  `state` None is a null value."""

    partition: int
    offset: int
    value: bytes | None
    state: State | None


class StateLog:
    """The state topic, read in the order of each partition."""

    def __init__(self, partitions: int, findings: Findings) -> None:
        self.latest: dict[bytes, Latest] = {}
        self.ends: dict[int, int] = defaultdict(int)
        """By partition, the offset behind the last record that was taken."""
        self._partitions, self._findings = partitions, findings

    def rows_of(self, partition: int) -> dict[bytes, bytes]:
        """Return the newest value of each key of a partition, as far as it was read."""
        return {
            key: one.value
            for key, one in self.latest.items()
            if one.partition == partition and one.value is not None
        }

    def see(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Take the next record of a partition."""
        place = f"{partition}@{offset}"
        self.ends[partition] = offset + 1
        if key is None or home_of(key, self._partitions) != partition:
            self._findings.add(Kind.INVENTED, Where.STATE, key or place, f"{place} belongs elsewhere")
            return
        try:
            state = None if value is None else state_of(value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._findings.add(Kind.WRONG, Where.STATE, key, f"{place} is no state: {error!r}")
            return
        before = self.latest.get(key)
        if before is not None:
            self._compare(key, before, state, value, place)
        self.latest[key] = Latest(partition, offset, value, state)

    def _compare(
        self, key: bytes, before: Latest, state: State | None, value: bytes | None, place: str
    ) -> None:
        if before.value == value:
            self._findings.add(Kind.DUPLICATED, Where.STATE, key, f"{place} repeats {before.offset}")
        elif before.state is not None and state is not None:
            for detail in steps_back(before.state, state):
                self._findings.add(Kind.REGRESSED, Where.STATE, key, f"{place}: {detail}")

    def finish(self, truth: Truth) -> None:
        """Compare the newest record of each key with the log."""
        for key, row in truth.rows.items():
            if difference := difference_of(self.latest.get(key), row):
                self._findings.add(difference[0], Where.STATE, key, difference[1])
        for key in self.latest.keys() - truth.rows.keys():
            self._findings.add(Kind.INVENTED, Where.STATE, key, "a state of which the log has no event")


def steps_back(before: State, after: State) -> Iterator[str]:
    """Yield what went back from one state to the next."""
    for name in ("version", "erased"):
        if getattr(after, name) < getattr(before, name):
            yield f"{name} falls from {getattr(before, name)} to {getattr(after, name)}"
    if after.retracted < before.retracted and after.erased < before.retracted:
        yield f"retracted falls from {before.retracted} to {after.retracted}"
    floors = max(after.erased, after.retracted), after.erased
    for name, floor in zip(("data", "request"), floors, strict=True):
        now: Versions = getattr(after, name)
        for key, version in getattr(before, name).items():
            if version > floor and now.get(key, NEVER) < version:
                yield f"{name}.{key} falls from {version} to {now.get(key, NEVER)}"


def difference_of(latest: Latest | None, row: Row) -> tuple[Kind, str] | None:
    """Return how the newest state differs from the truth, None when it does not."""
    if latest is not None and latest.state is None and row.is_deleted:
        return None  # forgotten, some time after it was erased
    if latest is None or latest.state is None:
        return Kind.LOST, f"no state; the log makes it version {row.version}"
    state = latest.state
    if state.version < row.version:
        return Kind.LOST, f"stands at version {state.version}; the log makes it {row.version}"
    detail = _contradiction(state, row)
    return None if detail is None else (Kind.WRONG, detail)


def _contradiction(state: State, row: Row) -> str | None:
    if row.is_deleted != (state.shown is None):
        return "erased" if state.shown is None else "not erased"
    if state.shown is not None and state.shown != (shown := row.shown()):
        return f"{state.shown}; the log makes it {shown}"
    if (state.erased, state.data, state.request) != (row.erased, _of(row.data), _of(row.request)):
        return f"its fields have other versions: {state}; the log makes them {row}"
    return None


def _of(fields: Mapping[str, tuple[int, str | None]]) -> Versions:
    return {key: version for key, (version, _) in fields.items()}
