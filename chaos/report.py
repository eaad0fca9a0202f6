"""A run as JSON, and the page that shows it.  Pure: values in, text out.

python -m chaos.report docs/chaos/run.json docs/chaos.md
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Json = Mapping[str, Any]

TITLES: Mapping[str, str] = {
    "kill": "`kill -9` of {}",
    "turns": "`kill -9` of two {}s in one group, in turn",
    "freeze": "{} stopped by SIGSTOP, and woken up",
    "storm": "A storm of kills, stops and SIGSTOPs: {}",
    "restart": "{} restarted",
    "slow": "The way to {} slow",
    "cut": "The way to {} cut",
    "silence": "The way to {} silent",
    "down": "{} down for minutes",
    "hang": "{} stopped for more than a minute, and woken up",
    "throttle": "{} slow: stopped nine tenths of the time",
    "read-only": "{}'s disk read-only",
    "damage": "A merger's disk damaged: {}",
    "other copy": "A merger's local copy replaced: {}",
    "restore": "{} put back to an older copy while everything runs",
    "poison": "Poison: six records in the {} that are no events",
    "too large": "Too large: {}",
    "clock": "Clocks moved by hours: {}",
    "disk full": "Disk full: {}",
    "idle": "1,000 open connections to {} that ask for nothing",
    "broker": "`kill -9` of one of three brokers: {}",
    "below": "Three brokers, fewer copies in sync than a write needs: {}",
    "roll": "Three {} restarted in turn",
    "migrate": "`afterword migrate` with {}",
    "tail cut": "The tail of Kafka's log cut: {}",
    "emptied": "{} emptied",
    "spoiled": "A record of a request's {} damaged in Kafka",
    "recreated": "A topic deleted and made again under running parts: {}",
}
"""What a kind of fault is called, around its target."""
TARGETS: Mapping[tuple[str, str], str] = {
    ("kill", "supervisor"): "the supervisor, with all that it ran",
    ("damage", "cut"): "a file cut short",
    ("damage", "flip"): "one bit of a table turned over",
    ("damage", "manifest"): "`MANIFEST` cut short",
    ("damage", "current"): "`CURRENT` overwritten",
    ("damage", "table"): "a table deleted",
    ("damage", "directory"): "a directory deleted",
    ("damage", "swapped"): "two partitions' directories swapped",
    ("other copy", "older"): "by its own of some seconds before",
    ("other copy", "other host"): "by the other merger's",
    ("too large", "request"): "an event above what ingest takes",
    ("too large", "record"): "a record above what the topic takes",
    ("too large", "row"): "a row above what the merge takes",
    ("too large", "limit"): "every batch, while the topic takes 700 bytes",
    ("clock", "merger"): "both mergers",
    ("clock", "sink"): "both sinks",
    ("clock", "broker"): "one of three brokers",
    ("clock", "clickhouse"): "ClickHouse",
    ("disk full", "merger"): "the merger",
    ("disk full", "merger-2"): "the second merger",
    ("disk full", "both"): "both mergers",
    ("broker", "leader"): "the leader of a partition",
    ("broker", "coordinator"): "the coordinator of a group",
    ("broker", "controller"): "the active controller",
    ("below", "min ISR"): "one broker gone where three must acknowledge",
    ("below", "a majority"): "two brokers gone, and with them the controllers' majority",
    ("migrate", "a broker away"): "one of three brokers away",
    ("tail cut", "events"): "the topics of events",
    ("tail cut", "state"): "the topics of states",
    ("tail cut", "everything"): "the whole disk put back to an older copy",
    ("recreated", "events"): "events",
    ("recreated", "state"): "states",
    ("storm", "mergers"): "two mergers",
    ("storm", "sinks"): "two sinks",
    ("storm", "mergers and sinks"): "two mergers and two sinks",
}
"""Titles of targets whose name is not clear enough."""
NAMES: Mapping[str, str] = {
    "kafka": "Kafka",
    "warehouse": "ClickHouse",
    "merger": "the merger",
    "merger-2": "the second merger",
    "sink": "the sink",
    "sink-2": "the second sink",
    "query": "the query API",
}
_PAGE = Path(__file__).with_name("page.md")
FAILINGS = ("lost", "wrong", "duplicated", "invented")
HEADINGS = (
    "Fault",
    "Times",
    "Acknowledged",
    *map(str.capitalize, FAILINGS),
    "Recovery, median",
    "Worst",
    "Every partition, worst",
)


def page(run: Json) -> str:
    """Return the whole page in Markdown."""
    return _PAGE.read_text().format(facts=_facts(run), sums=_sums(run), kinds=_kinds(run))


def title(fault: str, target: str) -> str:
    """Return what a kind of fault is called on the page."""
    name = target if fault == "turns" else NAMES.get(target, target)
    text = TITLES[fault].format(TARGETS.get((fault, target), name))
    return text[:1].upper() + text[1:]


def _facts(run: Json) -> str:
    machine = run["machine"]
    rows = {
        "Began": run["began_at"],
        "Took": f"{run['seconds'] / 60:.0f} minutes",
        "Seed": run["seed"],
        "Command": f"`{run['command']}`",
        "Commit": f"`{run['commit']}`",
        "Machine": f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']} GB,"
        f" {machine['system']}, Python {machine['python']}",
    }
    return _table(("The run", ""), rows.items())


def _sums(run: Json) -> str:
    verdict, sums = run["verdict"], run["sums"]
    numbers = {
        "Faults": len(run["faults"]),
        "Events sent": sums["sent"],
        "Acknowledged": verdict["acknowledged"],
        "Unknown": verdict["unknown"],
        "Refused": sums["refused"],
        "Events in the log": verdict["events"],
        "Rows": verdict["rows"],
        "Dead letters, as they must be": verdict["dead_letters"],
        "Acknowledged, and only in a log that was taken away": verdict.get("gone", 0),
        **{f"**{name.capitalize()}**": verdict[name] for name in FAILINGS},
    }
    return _table(("", "Count"), ((name, f"{number:,}") for name, number in numbers.items()))


def _kinds(run: Json) -> str:
    groups: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for fault in run["faults"]:
        groups[fault["fault"], fault["target"]].append(fault)
    return _table(HEADINGS, (_row(*kind, faults) for kind, faults in _ordered(groups)))


def _ordered(groups: Mapping[tuple[str, str], list[Json]]) -> Iterable[tuple[tuple[str, str], list[Json]]]:
    names = list(TITLES)
    return sorted(groups.items(), key=lambda group: (names.index(group[0][0]), group[0][1]))


def _row(fault: str, target: str, faults: Sequence[Json]) -> tuple[str, ...]:
    seconds = [one["first"] for one in faults]
    acknowledged = sum(one["acknowledged"] for one in faults)
    failings = (str(sum(one["failings"].get(name, 0) for one in faults)) for name in FAILINGS)
    worst = (max(seconds), max(one["everywhere"] for one in faults))
    times = (f"{number:.1f} s" for number in (median(seconds), *worst))
    return title(fault, target), str(len(faults)), f"{acknowledged:,}", *failings, *times


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(page(json.loads(source.read_text())))
