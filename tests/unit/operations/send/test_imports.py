"""Exports of other systems become events: what each field is stored as, and what is wrong with a file."""

import csv
import json
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest

from schemas.instants import FORMS
from services.operations.send.core.imports import (
    WHOLE_FILE,
    ExportFormat,
    ExportSystem,
    ImportSplitter,
    item_reader,
)
from services.operations.send.core.plan import chunks, plan
from services.operations.send.core.split import BrokenFileError, FilePosition, SendEntry, layout_of, splitter

RUN, TRACE = "018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"
LANGSMITH = {
    "id": "018f0000-0000-7000-8000-00000000000f",
    "created_at": "2026-03-01T09:00:00.5+00:00",
    "modified_at": "2026-03-02T09:00:00+00:00",
    "run_id": RUN,
    "trace_id": TRACE,
    "key": "user_score",
    "score": 1.0,
    "value": None,
    "comment": "007",
    "correction": None,
    "feedback_source": {"type": "app", "metadata": {"page": "help"}, "user_id": "u1"},
    "session_id": None,
    "extra": None,
}
OPENWEBUI: dict[str, Any] = {
    "id": "feedback-1",
    "user_id": "u1",
    "version": 0,
    "type": "rating",
    "data": {
        "rating": -1,
        "model_id": "model-a",
        "sibling_model_ids": ["model-b"],
        "reason": "being_lazy",
        "comment": "",
        "tags": ["code"],
        "details": {"rating": 3},
    },
    "meta": {"arena": False, "chat_id": "chat-1", "message_id": "message-1", "message_index": 2},
    "snapshot": {"chat": {"title": "not stored"}},
    "created_at": 1772355600,
    "updated_at": 1772355700,
}


def entries(system: ExportSystem, content: str | bytes, *maps: str) -> list[SendEntry]:
    """Return the entries of a file, in the order of the file."""
    raw = content.encode() if isinstance(content, str) else content
    source = ExportFormat(system, maps)
    layout = layout_of(raw, can_be_csv=source.can_be_csv)
    split = ImportSplitter(splitter(layout, FilePosition()), item_reader(source, layout, raw))
    return [*split.feed(raw), *split.finish()]


def events(system: ExportSystem, content: str | bytes, *maps: str) -> list[Any]:
    """Return the events of a file without faults."""
    found = entries(system, content, *maps)
    assert not [entry for entry in found if entry.fault]
    return [json.loads(entry.text) for entry in found]


def faults(system: ExportSystem, content: str | bytes, *maps: str) -> list[tuple[int, str, str]]:
    """Return line, code and text of the faults of a file."""
    return [(entry.line, entry.code, entry.fault) for entry in entries(system, content, *maps) if entry.fault]


LANGFUSE: dict[str, Any] = {
    "id": "score-1",
    "traceId": "trace-1",
    "sessionId": None,
    "datasetRunId": None,
    "timestamp": "2026-03-01T09:00:00.000Z",
    "source": "API",
    "name": "helpful",
    "dataType": "NUMERIC",
    "value": 0.5,
    "stringValue": None,
    "comment": "5",
    "metadata": {"user_id": "u1", "page": "help"},
    "observationId": "observation-1",
    "traceName": "chat",
    "userId": "u2",
    "traceTags": ["a"],
    "environment": "default",
    "authorUserName": None,
}
LANGFUSE_EVENT = {
    "request_id": "trace-1:observation-1",
    "item_id": "score-1",
    "at": "2026-03-01T09:00:00Z",
    "data": {"helpful": 0.5, "comment": "5", "user_id": "u1", "helpful_metadata": {"page": "help"}},
    "request": {"user_id": "u2"},
}
UNDERSCORED = {"traceId": "trace_id", "observationId": "observation_id", "userId": "user_id"}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([LANGFUSE]),
        json.dumps(LANGFUSE) + "\n",
        json.dumps({UNDERSCORED.get(name, name): value for name, value in LANGFUSE.items()}),
        json.dumps({**LANGFUSE, "userId": None, "trace": {"userId": "u2", "tags": []}}),
    ],
)
def test_langfuse_scores_are_stored_as_its_clients_send_them(content: str) -> None:
    """From the UI, the API and the SDK."""
    assert events(ExportSystem.LANGFUSE, content) == [LANGFUSE_EVENT]


def test_langfuse_csv_is_the_same_score() -> None:
    """Every cell is quoted, null is an empty cell, objects and times are JSON."""
    file = StringIO(newline="")
    texts = {
        name: value if isinstance(value, str) else "" if value is None else json.dumps(value)
        for name, value in LANGFUSE.items()
    }
    texts["timestamp"] = json.dumps(LANGFUSE["timestamp"])
    csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([texts, texts.values()])

    assert events(ExportSystem.LANGFUSE, file.getvalue()) == [LANGFUSE_EVENT]


@pytest.mark.parametrize(
    ("changes", "request_id", "data"),
    [
        ({"dataType": "BOOLEAN", "value": 1, "stringValue": "True"}, "trace-1", {"helpful": 1}),
        ({"dataType": "CATEGORICAL", "value": 0, "stringValue": "bad"}, "trace-1", {"helpful": "bad"}),
        ({"authorUserName": "reviewer"}, "trace-1", {"helpful": 0.5, "user_id": "reviewer"}),
        ({"traceId": None, "sessionId": "session-1"}, "session:session-1", {"helpful": 0.5}),
    ],
)
def test_langfuse_scores_have_a_value_of_their_type(
    changes: dict[str, Any], request_id: str, data: dict[str, Any]
) -> None:
    """An annotation's author is the rater; a score of a session has the session's request."""
    absent: dict[str, Any] = {"comment": None, "metadata": {}, "observationId": None, "userId": None}

    (event,) = events(ExportSystem.LANGFUSE, json.dumps([{**LANGFUSE, **absent, **changes}]))

    assert (event["request_id"], event["data"]) == (request_id, data)
    assert "request" not in event


def test_langfuse_faults_name_the_field() -> None:
    """A page of the API's answer is no score."""
    content = '{"data": [], "meta": {}}\n[]\n{"name": "a", "value": 1}\n'

    assert faults(ExportSystem.LANGFUSE, content) == [
        (1, "invalid_feedback", "name is missing"),
        (2, "invalid_feedback", "the body must be an object, not a list"),
        (3, "invalid_feedback", "traceId is missing, and so is sessionId: one of both is needed"),
    ]


LANGSMITH_EVENT = {
    "request_id": RUN,
    "item_id": LANGSMITH["id"],
    "at": "2026-03-01T09:00:00.500000Z",
    "data": {
        "user_score": 1.0,
        "comment": "007",
        "user_id": "u1",
        "user_score_metadata": {"page": "help", "type": "app", "trace_id": TRACE},
    },
}


@pytest.mark.parametrize(
    "content", [json.dumps(LANGSMITH), json.dumps([LANGSMITH]), json.dumps([LANGSMITH], indent=2)]
)
def test_langsmith_feedback_is_stored_as_its_clients_send_it(content: str) -> None:
    """As JSON lines or an array."""
    assert events(ExportSystem.LANGSMITH, content) == [LANGSMITH_EVENT]


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("feedback_source", '"{""type"": ""app"", ""metadata"": {""page"": ""help""}, ""user_id"": ""u1""}"'),
        ("feedback_source.type,feedback_source.metadata.page,feedback_source.user_id", "app,help,u1"),
    ],
)
def test_langsmith_csv_is_the_same_feedback(column: str, cells: str) -> None:
    """The source of the feedback is one column of JSON, or a column for each member."""
    content = (
        f",id,created_at,run_id,trace_id,key,score,value,comment,{column}\n"
        f"0,{LANGSMITH['id']},2026-03-01 09:00:00.5+00:00,{RUN},{TRACE},user_score,1.0,,007,{cells}\n"
    )

    assert events(ExportSystem.LANGSMITH, content) == [LANGSMITH_EVENT]


def test_openwebui_ratings_are_the_messages_feedback() -> None:
    """The message is the request, the chat its session; the snapshot of the chat is omitted."""
    assert events(ExportSystem.OPENWEBUI, json.dumps([OPENWEBUI])) == [
        {
            "request_id": "message-1",
            "item_id": "feedback-1",
            "at": "2026-03-01T09:00:00Z",
            "data": {
                "rating": -1,
                "reason": "being_lazy",
                "details": {"rating": 3},
                "tags": ["code"],
                "rating_metadata": {"sibling_model_ids": ["model-b"], "arena": False, "message_index": 2},
                "user_id": "u1",
            },
            "request": {"model": "model-a", "session_id": "chat-1"},
        }
    ]


def test_openwebui_faults_name_the_item_and_the_field() -> None:
    """The other items are events."""
    no_message = {**OPENWEBUI, "meta": {"chat_id": "chat-1"}}
    no_rating = {**OPENWEBUI, "data": {"comment": "text"}}
    content = json.dumps([no_message, OPENWEBUI, no_rating, 7], indent=0)

    found = entries(ExportSystem.OPENWEBUI, content)

    assert [(entry.item, entry.code, entry.fault) for entry in found] == [
        (1, "invalid_feedback", "meta.message_id is missing"),
        (2, "malformed_json", ""),
        (3, "invalid_feedback", "data.rating is missing"),
        (4, "invalid_feedback", "the body must be an object, not a number"),
    ]


def test_csv_columns_are_mapped_and_cells_show_their_types() -> None:
    """Ids and comments stay text; an empty cell sets nothing; a column that no field names is omitted."""
    content = (
        "\ufeffID;Stars;Share;Good;Tags;Remark;Who;When;Model;Other\r\n"
        'r1;5;0.25;TRUE;"[""a""]";"two\r\nlines; ""quoted""";017;2026-03-01 09:00;gpt-x;x\r\n'
        "\r\n"
        "r2;;;;;5;18;;007;x\r\n"
    )
    maps = [
        *("request_id=ID", "data.rating=Stars", "data.share=Share", "data.good=Good", "data.tags=Tags"),
        *("data.comment=Remark", "data.user_id=Who", "at=When", "request.model=Model", "item_id=Who"),
    ]

    assert events(ExportSystem.CSV, content, *maps) == [
        {
            "request_id": "r1",
            "item_id": "017",
            "at": "2026-03-01T09:00:00Z",
            "data": {
                "rating": 5,
                "share": 0.25,
                "good": True,
                "tags": ["a"],
                "comment": 'two\r\nlines; "quoted"',
                "user_id": "017",
            },
            "request": {"model": "gpt-x"},
        },
        {
            "request_id": "r2",
            "item_id": "18",
            "data": {"comment": "5", "user_id": "18"},
            "request": {"model": "007"},
        },
    ]


def test_csv_columns_with_names_of_fields_need_no_mapping() -> None:
    """A mapping for the same field replaces that."""
    content = "request_id\tdata.rating\tdata.note:text\tStars\nr1\t1\t7\t5\n"

    assert events(ExportSystem.CSV, content) == [{"request_id": "r1", "data": {"rating": 1, "note": "7"}}]
    assert events(ExportSystem.CSV, content, "data.rating=Stars") == [
        {"request_id": "r1", "data": {"rating": 5, "note": "7"}}
    ]


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("text", "5", "5"),
        ("number", " 5 ", 5),
        ("number", "-0.5e1", -5.0),
        ("boolean", "yes", True),
        ("boolean", "0", False),
        ("json", '"""5"""', "5"),
        ("", "-7", -7),
        ("", "007", "007"),
        ("", "1234567890123456789", "1234567890123456789"),
        ("", "1e999", "1e999"),
        ("", "{broken", "{broken"),
        ("", "null", "null"),
    ],
)
def test_a_type_is_that_of_the_mapping_or_of_the_cell(kind: str, cell: str, value: object) -> None:
    """What would change by being read as a number stays text."""
    field = f"data.v:{kind}" if kind else "data.v"

    (event,) = events(ExportSystem.CSV, f"id,v\nr1,{cell}\n", "request_id=id", f"{field}=v")

    assert event["data"] == {"v": value}
    assert type(event["data"]["v"]) is type(value)


def test_csv_faults_have_the_line_the_column_and_the_cell() -> None:
    """Also behind rows of several lines; the other rows are events."""
    content = 'id,n,when\nr1,"1\n",\nr2,many,\n,3,\nr4,4,yesterday\nr5,5,,6\nr6,,\nr7,7,\n'

    assert faults(ExportSystem.CSV, content, "request_id=id", "data.n:number=n", "at=when") == [
        (4, "invalid_feedback", "column n has 'many', which is not a number"),
        (5, "invalid_feedback", "request_id is missing"),
        (6, "invalid_feedback", f"at is not a time; it takes {FORMS}"),
        (7, "invalid_feedback", "the row has 4 cells, and the header has 3; is a quote missing?"),
        (8, "invalid_feedback", "the row has neither feedback nor facts"),
    ]


def test_a_row_in_latin_1_is_a_fault_with_the_conversion() -> None:
    """The other rows are events."""
    content = "request_id,data.a\nr1,ä\nr2,b\n".encode("latin-1")

    ((line, code, text),) = faults(ExportSystem.CSV, content)

    assert (line, code) == (2, "invalid_feedback")
    assert "iconv -f WINDOWS-1252" in text


@pytest.mark.parametrize(
    ("maps", "reason"),
    [
        (["request_id=Nr"], "--map request_id=Nr: there is no column Nr; the columns are ID, Stars"),
        (
            ["data.rating=Stars"],
            "no column is the request id",
        ),
        (["request_id=ID"], "no column has feedback or facts"),
        (["request_id=ID", "rating=Stars"], "--map rating=Stars: it takes FIELD=COLUMN"),
        (["request_id=ID", "data.rating"], "--map data.rating: it takes FIELD=COLUMN"),
        (["request_id=ID", "data.rating:whole=Stars"], ""),
    ],
)
def test_a_mapping_that_does_not_fit_the_header_is_refused(maps: list[str], reason: str) -> None:
    """Before anything is sent, with the columns that the file has.  A colon may be part of a key."""
    if not reason:
        assert events(ExportSystem.CSV, "ID,Stars\nr1,5\n", *maps)[0]["data"] == {"rating:whole": 5}
        return
    with pytest.raises(ValueError, match=reason.split(";", maxsplit=1)[0]):
        entries(ExportSystem.CSV, "ID,Stars\nr1,5\n", *maps)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the file has no header"),
        ('[{"request_id": "r1"}]', "this is JSON"),
        ("request_id,data.a,data.a\n", "line 1: the header has several columns data.a"),
    ],
)
def test_a_file_that_is_no_table_is_refused(content: str, reason: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=reason):
        entries(ExportSystem.CSV, content)


def test_a_quote_that_does_not_end_is_an_error_with_its_line() -> None:
    """The rows before it are events."""
    with pytest.raises(BrokenFileError, match="inside quotes") as raised:
        entries(ExportSystem.CSV, 'request_id,data.a\nr1,a\nr2,"b\nr3,c\n')

    assert raised.value.line == 3


def test_items_are_sent_in_the_order_of_their_times() -> None:
    """Exports have the newest first; items without a time precede the others, in the order of the file."""
    times = ["2026-03-01T09:00:01Z", "2026-03-01T09:00:00.5Z", "2026-03-01T09:00:00Z", "", "1772355599", ""]
    rows = "".join(f"r,{number},{time}\n" for number, time in enumerate(times))
    raw = f"request_id,data.n,at\n{rows}".encode()
    source = ExportFormat(ExportSystem.CSV)
    split = ImportSplitter(
        splitter(layout_of(raw, can_be_csv=True), FilePosition()),
        item_reader(source, layout_of(raw, can_be_csv=True), raw),
    )

    (chunk,) = chunks([raw], split, WHOLE_FILE)

    batches = [batch for lane in plan(chunk).lanes for batch in lane]
    sent = [json.loads(entry.text)["data"]["n"] for batch in batches for entry in batch.entries]
    assert sent == [3, 5, 4, 2, 1, 0]
    assert all(int(a.name.split(".")[2]) < int(b.name.split(".")[2]) for a, b in pairwise(batches))


def test_files_behind_each_other_have_their_headers_skipped() -> None:
    """As `cat` joins them."""
    one = "request_id,data.n\nr1,1\n"

    assert [event["data"]["n"] for event in events(ExportSystem.CSV, one + one)] == [1, 1]
