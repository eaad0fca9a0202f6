"""Exports of other systems, sent by `afterword send --from`: rows and history as SQL shows them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.stack.rows import ask, shows
from tests.support.stack.whole_stack import WholeStack

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def _seconds(time: datetime) -> int:
    return int(time.timestamp())


def score(number: int, value: float, at: datetime) -> dict[str, Any]:
    """Return a score of one trace, as Langfuse exports it."""
    return {
        "id": f"score-{number}",
        "traceId": "import-langfuse",
        "observationId": None,
        "timestamp": at.isoformat(),
        "name": "helpful",
        "dataType": "NUMERIC",
        "value": value,
        "stringValue": None,
        "comment": None,
        "metadata": {},
        "userId": "u1",
    }


FILES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "langfuse": ("scores.json", json.dumps([score(2, 0.75, LATER), score(1, 0.25, NOON)]), ()),
    "langsmith": (
        "feedback.jsonl",
        json.dumps(
            {
                "id": "018f0000-0000-7000-8000-00000000000f",
                "created_at": NOON.isoformat(),
                "run_id": "import-langsmith",
                "trace_id": None,
                "key": "correct",
                "score": 1,
                "value": None,
                "comment": "Good.",
                "feedback_source": {"type": "api", "metadata": {}, "user_id": "u1"},
            }
        ),
        (),
    ),
    "openwebui": (
        "feedbacks.json",
        json.dumps(
            [
                {
                    "id": "feedback-1",
                    "user_id": "u1",
                    "data": {"rating": 1, "model_id": "model-a"},
                    "meta": {"message_id": "import-openwebui", "chat_id": "chat-1"},
                    "snapshot": {"chat": {}},
                    "created_at": _seconds(NOON),
                }
            ]
        ),
        (),
    ),
    "csv": (
        "votes.csv",
        "Answer,Stars,Given,Nr\nimport-csv,2,2026-03-01 12:30,vote-2\nimport-csv,5,2026-03-01 12:00,vote-1\n",
        (
            *("--map", "request_id=Answer", "--map", "data.rating=Stars"),
            *("--map", "at=Given", "--map", "item_id=Nr"),
        ),
    ),
}

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "import-langfuse": ({"helpful": 0.75}, {"user_id": "u1"}),
    "import-langsmith": ({"correct": 1, "comment": "Good.", "user_id": "u1"}, {}),
    "import-openwebui": ({"rating": 1, "user_id": "u1"}, {"model": "model-a", "session_id": "chat-1"}),
    "import-csv": ({"rating": 2}, {}),
}

HISTORY = """
    SELECT request_id, item_id, toUnixTimestamp(at) FROM feedback_history
    WHERE startsWith(request_id, 'import-') ORDER BY request_id, version
"""


async def test_exports_become_rows_with_their_history(whole_stack: WholeStack, tmp_path: Path) -> None:
    """The row has the latest value, though the file has it first; each event has the item's id and time."""
    for system, (name, content, maps) in FILES.items():
        path = tmp_path / name
        path.write_text(content)

        sent = await whole_stack.call(
            *("send", str(path), "--from", system, *maps),
            *("--url", whole_stack.ingest_url, "--state-dir", str(tmp_path / "state")),
        )

        assert sent.returncode == 0, sent.stderr
        assert " 0 rejected" in sent.stdout

    await shows(whole_stack.settings, "import-", ROWS)
    assert [tuple(row) for row in await ask(whole_stack.settings, HISTORY)] == [
        ("import-csv", "vote-1", _seconds(NOON)),
        ("import-csv", "vote-2", _seconds(LATER)),
        ("import-langfuse", "score-1", _seconds(NOON)),
        ("import-langfuse", "score-2", _seconds(LATER)),
        ("import-langsmith", "018f0000-0000-7000-8000-00000000000f", _seconds(NOON)),
        ("import-openwebui", "feedback-1", _seconds(NOON)),
    ]
