"""A run as JSON, and the page that shows it.  Pure: values in, text out.

python -m tests.chaos.report docs/chaos/run.json docs/chaos.md
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
    "turns": "`kill -9` of two {}s of a group, in turn",
    "freeze": "{} stopped (SIGSTOP), then woken up",
    "restart": "{} restarted",
    "slow": "the way to {} slow",
    "cut": "the way to {} cut",
    "silence": "the way to {} silent",
    "down": "{} down for minutes",
    "hang": "{} stopped for more than a minute",
    "damage": "merger's disk: {}",
    "poison": "six poison records in the {}",
    "too large": "too large: {}",
    "clock": "clocks of {} moved by hours",
    "disk full": "disk full: {}",
}
TARGETS: Mapping[tuple[str, str], str] = {
    ("kill", "supervisor"): "the supervisor, and all that it ran",
    ("damage", "cut"): "a file cut short",
    ("damage", "flip"): "one bit turned over",
    ("damage", "manifest"): "`MANIFEST` cut short",
    ("damage", "current"): "`CURRENT` overwritten",
    ("damage", "table"): "a table deleted",
    ("damage", "directory"): "a directory deleted",
    ("too large", "request"): "an event above what ingest takes",
    ("too large", "record"): "a record above what the topic takes",
    ("too large", "row"): "a row above what the merge takes",
    ("too large", "limit"): "every batch, the topic taking 700 bytes",
    ("disk full", "both"): "both mergers",
}
_PAGE = Path(__file__).with_name("page.md")
FAILINGS = ("lost", "wrong", "duplicated", "invented")
HEADINGS = ("Fault", "Times", "Acknowledged", *map(str.capitalize, FAILINGS), "Median recovery", "Worst")


def page(run: Json) -> str:
    """Return the whole page in Markdown."""
    return _PAGE.read_text().format(facts=_facts(run), sums=_sums(run), kinds=_kinds(run))


def title(fault: str, target: str) -> str:
    """Return what a kind of fault is called on the page."""
    return TITLES[fault].format(TARGETS.get((fault, target), target))


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
    seconds = [one["everywhere"] for one in faults]
    acknowledged = sum(one["acknowledged"] for one in faults)
    failings = (str(sum(one["failings"].get(name, 0) for one in faults)) for name in FAILINGS)
    times = (f"{median(seconds):.1f} s", f"{max(seconds):.1f} s")
    return title(fault, target), str(len(faults)), f"{acknowledged:,}", *failings, *times


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(page(json.loads(source.read_text())))
