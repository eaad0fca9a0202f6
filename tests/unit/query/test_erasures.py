"""What a body may ask to erase, who may, and how an erasure is shown."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from services.erasure.core.erasures import user_hash
from services.ingest.dialects.native import read_event
from services.query.api.erasures import MAX_BODY_BYTES, erasure_of, item
from services.query.core.problems import ProblemCode, QueryProblem
from services.runtime.http.keys import Scope
from services.runtime.settings import ClickHouseSettings
from tests.support.query.app import client_of, code_of, query_over, reading_key

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
ID = UUID(int=3)
NOWHERE = ClickHouseSettings(clickhouse_url="http://127.0.0.1:1")


def test_a_user_is_kept_as_a_hash() -> None:
    """The id itself is nowhere in what is stored and shown."""
    one = erasure_of("acme", b'{"user_id": "u-17"}', ID, NOW)

    assert one.user_hash == user_hash("acme", "u-17")
    assert b"u-17" not in orjson.dumps([one.row(), item(one, whole=True)])


@pytest.mark.parametrize("user", ["u" * 1_001, "ü" * 200_000, "\0\n\t"])
def test_whatever_an_event_can_name_as_its_user_is_erasable(user: str) -> None:
    """Of any length and with any character: the door has no other limit than that of an event."""
    event = {"request_id": "r", "data": {"user_id": user}}
    assert read_event(orjson.dumps(event)).data == {"user_id": user}

    assert erasure_of("acme", json.dumps({"user_id": user}).encode(), ID, NOW).user_hash == user_hash(
        "acme", user
    )
    assert len(json.dumps({"user_id": user})) <= MAX_BODY_BYTES


def test_requests_are_named_alone_or_in_a_list() -> None:
    """Repeats count once."""
    assert erasure_of("acme", b'{"request_id": "r/1"}', ID, NOW).asked_for == ("r/1",)
    assert erasure_of("acme", b'{"request_ids": ["b", "a", "b"]}', ID, NOW).asked_for == ("b", "a")


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"{}", ""),
        (b'{"user": "u"}', ""),
        (b'{"user_id": "u", "request_id": "r"}', ""),
        (b'{"user_id": ""}', "user_id"),
        (b'{"user_id": 5}', "user_id"),
        (b'{"user_id": null}', "user_id"),
        (b'{"request_id": ""}', "request_id"),
        (b'{"request_id": ["r"]}', "request_id"),
        (b'{"request_ids": []}', "request_ids"),
        (b'{"request_ids": "r"}', "request_ids"),
        (b'{"request_ids": ["r", "a\\u0000"]}', "request_ids[1]"),
        (orjson.dumps({"request_ids": ["r"] * 1_001}), "request_ids"),
    ],
)
def test_a_body_that_does_not_name_one_of_them_is_refused(body: bytes, parameter: str) -> None:
    """With what is wrong, and where."""
    with pytest.raises(QueryProblem) as refused:
        erasure_of("acme", body, ID, NOW)
    assert refused.value.code is ProblemCode.INVALID_QUERY
    assert refused.value.faults[0].parameter == parameter


async def test_only_a_key_with_the_scope_admin_erases(tmp_path: Path) -> None:
    """Neither one that reads and writes, nor a session; the audit log has nothing to tell then."""
    key, admin = reading_key(tmp_path, Scope.READ, Scope.WRITE), reading_key(tmp_path, Scope.ADMIN)
    async with client_of(query_over(NOWHERE, tmp_path), key) as client:
        answers = [
            await client.post("/v1/erasures", json={"request_id": "r"}),
            await client.get("/v1/erasures"),
            await client.get(f"/v1/erasures/{ID}"),
        ]
        signed_in = await client.post("/sign-in", data={"key": admin})
        assert signed_in.cookies
        del client.headers["authorization"]
        answers.append(await client.post("/v1/erasures", json={"request_id": "r"}))

    assert [code_of(answer) for answer in answers] == ["forbidden"] * 3 + ["unauthenticated"]
    assert not (tmp_path / "audit.ndjson").exists()


async def test_a_store_that_is_away_takes_nothing_and_the_audit_log_reports_it(tmp_path: Path) -> None:
    """So it can be asked for again."""
    key = reading_key(tmp_path, Scope.ADMIN)
    async with client_of(query_over(NOWHERE, tmp_path), key) as client:
        answer = await client.post("/v1/erasures", json={"user_id": "u-17"})

    log = (tmp_path / "audit.ndjson").read_text()
    assert code_of(answer) == "store_unavailable"
    assert [orjson.loads(line)["outcome"] for line in log.splitlines()] == ["begun", "failed"]
    assert "u-17" not in log


async def test_a_form_of_another_site_cannot_erase(tmp_path: Path) -> None:
    """A browser sends such types without asking first."""
    async with client_of(query_over(NOWHERE, tmp_path)) as client:
        answer = await client.post(
            "/v1/erasures", content=b'{"request_id": "r"}', headers={"content-type": "text/plain"}
        )

    assert code_of(answer) == "invalid_query"
