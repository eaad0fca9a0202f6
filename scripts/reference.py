"""Rewrite the generated parts of the documentation: settings, metrics, errors, limits, topics.

A page says where with `<!-- generated: NAME -->`, and with `<!-- end -->` where it goes on by itself.
Everything comes from the code that means it, so a page cannot be out of step; a test runs `outdated`.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from schemas import deadletters, limits
from schemas.topics import DAY_MS, Topic, Topology
from services.cli.app import COMMANDS
from services.ingest.core.errors import MEANINGS
from services.operations.dlq.core.dead_letter import advice
from services.runtime.settings import DescribedSetting, Settings, describe

ROOT = Path(__file__).parent.parent
FLOW = "ingest merger sink query"
POWERS: dict[float, str] = {limits.MIN_INTEGER: "-2^63", limits.MAX_INTEGER: "2^64 - 1"}
REGION = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in [header, ["---"] * len(header), *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def code(text: str) -> str:
    """Return a code span, or nothing for nothing."""
    return f"`{text}`" if text else ""


def modules(name: str) -> Iterator[tuple[str, ModuleType]]:
    """Yield (part, module) for each part of Afterword that has a module of that name, in its own folder."""
    paths = {path.parent.name: path for path in sorted((ROOT / "services").rglob(f"{name}.py"))}
    if (warehouse := ROOT / "chdb_server" / f"{name}.py").exists():
        paths["warehouse"] = warehouse
    del paths["runtime"]  # what others declare theirs with
    for part in sorted(paths, key=lambda part: (part not in FLOW, FLOW.find(part), part)):
        yield part, import_module(".".join(paths[part].relative_to(ROOT).with_suffix("").parts))


def settings_classes() -> list[tuple[str, type[Settings]]]:
    """Return (part, class) for each class of settings."""
    return [
        (part, cls)
        for part, module in modules("settings")
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, Settings) and cls.__module__ == module.__name__
    ]


def settings() -> str:
    """Return the tables of all settings: those that more than one part reads, then each part's own."""
    readers: dict[str, set[str]] = {}
    rows: dict[str, list[str]] = {}
    prefixes = {cls.prefix: part for part, cls in settings_classes() if cls.prefix}
    for part, cls in settings_classes():
        properties = cls.model_json_schema()["properties"]
        for row in describe(cls()):
            readers.setdefault(row.variable, set()).add(part)
            if row.variable not in rows or (cls.prefix and row.variable.startswith(cls.prefix)):
                rows[row.variable] = _setting(row, properties[row.variable.lower()])
    owners = {name: _owner(name, prefixes, users) for name, users in readers.items()}
    parts = dict.fromkeys(["", *(part for part, _ in settings_classes())])
    return "\n".join(_settings_of(part, owners, rows) for part in parts if part in owners.values())


def _owner(variable: str, prefixes: dict[str, str], users: set[str]) -> str:
    """Return the part that a setting belongs to; empty when it belongs to none in particular."""
    by_prefix = (part for prefix, part in prefixes.items() if variable.startswith(prefix))
    return next(by_prefix, next(iter(users)) if len(users) == 1 else "")


def _settings_of(owner: str, owners: dict[str, str], rows: dict[str, list[str]]) -> str:
    lines = [row for name, row in rows.items() if owners[name] == owner]
    title = owner.capitalize() or "Shared"
    return f"## {title}\n\n{table(['Variable', 'Default', 'Allowed', 'Meaning'], lines)}"


def _setting(row: DescribedSetting, schema: dict[str, Any]) -> list[str]:
    size = (
        f" ({_number(int(row.default), row.variable)})"
        if row.variable.endswith("_BYTES") and row.default
        else ""
    )
    return [code(row.variable), code(row.default) + size, _allowed(row.variable, schema), row.description]


def _allowed(variable: str, schema: dict[str, Any]) -> str:
    """Return which values a setting may have, from its JSON Schema."""
    if "enum" in schema:
        return ", ".join(code(str(value)) for value in schema["enum"])
    if schema.get("type") == "boolean":
        return "`true`, `false`"
    bounds = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    return ", ".join(
        f"{sign} {_number(schema[bound], variable)}" for bound, sign in bounds.items() if bound in schema
    )


def metrics() -> str:
    """Return the tables of all metrics, a service each."""
    heading = ["Metric", "Kind", "Labels", "Meaning"]
    return "\n".join(
        f"## {service.capitalize()}\n\n{table(heading, map(_metric, _metrics_of(module)))}"
        for service, module in modules("metrics")
    )


def _metrics_of(module: ModuleType) -> list[MetricWrapperBase]:
    return [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]


def _metric(metric: MetricWrapperBase) -> list[str]:
    # Each metric describes itself only through private names; the exposition would leave out empty ones.
    kind, name = str(metric._type), metric._name  # noqa: SLF001
    name += "_total" if kind == "counter" else ""
    labels = ", ".join(map(code, metric._labelnames))  # noqa: SLF001
    return [code(name), kind, labels, metric._documentation]  # noqa: SLF001


def errors() -> str:
    """Return the table of every error that ingest answers."""
    return table(
        ["Code", "Status", "Meaning", "Retry-After"],
        (
            [code(name), str(meaning.status), meaning.title, _seconds(meaning.retry_after_seconds)]
            for name, meaning in MEANINGS.items()
        ),
    )


def _seconds(seconds: int | None) -> str:
    return "" if seconds is None else f"{seconds} s"


def limit_table() -> str:
    """Return the table of every limit."""
    documented = _docstrings(ast.parse(inspect.getsource(limits)))
    return table(
        ["Limit", "Value", "Of what"],
        ([code(name), _number(getattr(limits, name), name), text] for name, text in documented.items()),
    )


def _number(value: float, name: str) -> str:
    """Return a number as text; settings named after bytes are sizes."""
    if value in POWERS:
        return POWERS[value]
    if "BYTES" not in name.upper():
        return f"{value:,}".removesuffix(".0")
    return f"{value / limits.MIB:g} MiB" if value >= limits.MIB else f"{value / limits.KIB:g} KiB"


def reasons() -> str:
    """Return the table of every reason for a dead letter."""
    documented = _docstrings(_class(deadletters, "Reason"))
    return table(
        ["Reason", "Meaning", "What to do"],
        ([code(reason), documented[reason.name], advice(reason).to_do] for reason in deadletters.Reason),
    )


def _class(module: ModuleType, name: str) -> ast.ClassDef:
    body = ast.parse(inspect.getsource(module)).body
    return next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)


def _docstrings(node: ast.Module | ast.ClassDef) -> dict[str, str]:
    """Return the text under each assignment, by the name that is assigned."""
    found = {}
    for assignment, following in zip(node.body, node.body[1:], strict=False):
        match assignment, following:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                found[name] = " ".join(text.split())
    return found


def topics() -> str:
    """Return the table of all topics."""
    heading = ["Topic", "Key", "Written by", "Read by", "Kept", "Largest message"]
    return table(heading, map(_topic, Topology().topics))


def _topic(topic: Topic) -> list[str]:
    config = topic.config()
    compacted = config["cleanup.policy"] == "compact"
    kept = "the latest of each key" if compacted else f"{int(config['retention.ms']) // DAY_MS} days"
    people = [", ".join(topic.writers), ", ".join(topic.readers)]
    key = code(topic.key) if "/" in topic.key else topic.key
    return [code(topic.name), key, *people, kept, _number(topic.max_message_bytes, "bytes")]


def commands() -> str:
    """Return the table of all commands."""
    return table(["Command", "What it does"], ([code(f"afterword {row.name}"), row.help] for row in COMMANDS))


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "metrics": metrics,
    "errors": errors,
    "limits": limit_table,
    "reasons": reasons,
    "topics": topics,
    "commands": commands,
}


def renewed(page: str) -> str:
    """Return a page with its generated parts as they should be."""
    return REGION.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", page)


def outdated() -> dict[Path, str]:
    """Return the text of each page that is out of step, as it should be."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
    return {path: new for path, text in pages.items() if (new := renewed(text)) != text}


if __name__ == "__main__":
    for path, text in outdated().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
