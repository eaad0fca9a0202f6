"""Prompts, responses and changes as people read them."""

from typing import Any

import pytest

from services.ingest.dialects import DIALECTS
from services.query.dashboard.core.request_details import SOURCES, conversation, entry, others, rated_keys


@pytest.mark.parametrize(
    ("request_", "turns"),
    [
        ({}, []),
        ({"prompt": "", "response": None}, []),
        ({"prompt": "Why?", "response": "So."}, [("prompt", "Why?"), ("response", "So.")]),
        (
            {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]},
            [("system", "Be kind."), ("user", "Why?")],
        ),
        (
            {
                "prompt": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                    }
                ]
            },
            [("user", "a\n\nb")],
        ),
        (
            {"response": {"choices": [{"message": {"role": "assistant", "content": "So."}}]}},
            [("assistant", "So.")],
        ),
        ({"response": {"choices": ["a"]}}, [("response", "a")]),
        ({"prompt": 5, "response": {"x": None}}, [("prompt", "5"), ("response", '{\n  "x": null\n}')]),
        ({"messages": [{"role": 7, "content": None}, "loose"]}, None),
    ],
)
def test_a_conversation_is_found_in_any_shape(
    request_: dict[str, Any], turns: list[tuple[str, str]] | None
) -> None:
    """What has no known shape is shown as JSON, and nothing is lost."""
    found = conversation(request_)
    if turns is None:
        assert len(found) == 1
        assert "loose" in found[0].text
    else:
        assert [(turn.role, turn.text) for turn in found] == turns


def test_no_key_is_shown_twice_and_none_is_omitted() -> None:
    """A value that its column does not take is shown as it is."""
    typed: dict[str, Any] = {"rating": None, "comment": "hi", "tags": [], "helpful": None, "user_id": ""}
    row = {**typed, "data": {"rating": "so-so", "message": "hi", "comment": "", "tags": "none", "extra": 1}}
    assert others(row, "data") == {"rating": "so-so", "comment": "", "tags": "none", "extra": 1}


def event(**fields: Any) -> dict[str, Any]:
    """Return an event of a history."""
    nothing: dict[str, list[str]] = {"set": [], "replaced": [], "cleared": [], "kept": []}
    changes = {"data": dict(nothing), "request": dict(nothing)}
    plain = {"op": "merge", "source": "requesty", "outcome": "merged", "data": {}, "request": {}}
    return plain | {"changes": changes} | fields


def changed(part: str, **kinds: list[str]) -> dict[str, Any]:
    """Return what an event changed in one part."""
    nothing: dict[str, list[str]] = {"set": [], "replaced": [], "cleared": [], "kept": []}
    return {"data": dict(nothing), "request": dict(nothing), part: nothing | kinds}


def test_an_entry_names_what_was_set_replaced_and_cleared() -> None:
    """What people look for first comes first."""
    shown = entry(
        event(
            data={"tags": ["a"], "rating": 2, "other": None, "zeal": 1},
            changes=changed("data", set=["zeal", "tags"], replaced=["rating"], cleared=["other"]),
        )
    )
    assert (shown.title, shown.source, shown.tone) == ("Feedback", "Requesty", "")
    assert [tuple(key) for key in shown.keys] == [
        ("data", "tags", "set", '["a"]'),
        ("data", "zeal", "set", "1"),
        ("data", "rating", "replaced", "2"),
        ("data", "other", "cleared", ""),
    ]


@pytest.mark.parametrize(
    ("fields", "title", "tone"),
    [
        (
            {"op": "retract", "changes": changed("data", cleared=["rating"])},
            "Feedback retracted",
            "is-neutral",
        ),
        ({"op": "erase"}, "Erased", "is-neutral"),
        ({"outcome": "ignored", "data": {"rating": 1}}, "Ignored", "is-muted"),
        ({"outcome": "dead_lettered", "data": {"rating": 1}}, "Dead-lettered", "is-negative"),
        ({"outcome": "pending"}, "Pending", "is-muted"),
        ({"changes": changed("data", kept=["rating"]), "data": {"rating": 1}}, "Repeated", ""),
        ({"changes": changed("request", set=["model"]), "request": {"model": "m"}}, "Request data", ""),
    ],
)
def test_an_entry_shows_what_kind_of_event_it_was(fields: dict[str, Any], title: str, tone: str) -> None:
    """One that changed nothing says why."""
    shown = entry(event(**fields))
    assert (shown.title, shown.tone) == (title, tone)


def test_an_event_that_was_not_merged_still_shows_its_values() -> None:
    """So that nobody has to guess what was given up."""
    shown = entry(event(outcome="dead_lettered", data={"rating": 1}))
    assert [tuple(key) for key in shown.keys] == [("data", "rating", "", "1")]


def test_only_keys_with_several_raters_are_shown_as_rated() -> None:
    """By name, each with the values of its raters in the order in which they were read: newest first."""
    raters: list[dict[str, Any]] = [
        {"key": "rating", "rater": "bob", "value": 2},
        {"key": "comment", "rater": "ann", "value": "Nearly."},
        {"key": "rating", "rater": "ann", "value": 4},
    ]
    agreement: list[dict[str, Any]] = [{"key": "comment", "raters": 1}, {"key": "rating", "raters": 2}]

    (rated,) = rated_keys(raters, agreement)

    assert rated.agreement == {"key": "rating", "raters": 2}
    assert [one["rater"] for one in rated.values] == ["bob", "ann"]
    assert rated_keys([], []) == []


def test_every_dialect_has_a_name_on_pages() -> None:
    """The event's source alone is a path prefix."""
    assert [dialect.name for dialect in DIALECTS if dialect.name not in SOURCES] == []
