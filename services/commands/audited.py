"""Commands write down what they change: before they do, and how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from services.runtime import audit
from services.runtime.settings import HomeSettings, load


@contextmanager
def audited(act: str, now: datetime, **facts: Any) -> Iterator[dict[str, Any]]:
    """Record an act as begun, and after the `with` block as done or failed.  AuditError: nothing was done.

    What is put into the yielded dict is recorded with the end.
    """
    settings = load(HomeSettings)
    facts = {name: value for name, value in facts.items() if value not in (None, "")}
    audit.record(settings, act, "begun", now, **facts)
    found: dict[str, Any] = {}
    try:
        yield found
    except BaseException as error:
        audit.record(settings, act, "failed", _now(), **facts | found, error=type(error).__name__)
        raise
    audit.record(settings, act, "done", _now(), **facts | found)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (the rim of a command)
