"""Whose feedback a call of `afterword erase` is about, and the error of a wrong call."""

import pytest

from services.erasure.core.erasures import user_hash
from services.operations.erase.core.subject import MOST_REQUESTS, ErasureSubject, plan, subject_of
from tests.support.operations.command import afterword


def test_a_user_is_a_hash_from_the_first_moment_on() -> None:
    """Nothing that is stored or logged names them."""
    assert subject_of("acme", [], "u-1", None) == ErasureSubject("acme", user_hash=user_hash("acme", "u-1"))


def test_a_file_has_a_request_id_a_line() -> None:
    """Empty lines and repeats do not matter, and white space inside an id does."""
    lines = ["r1\n", "\n", "r 2\r\n", "r1\n"]

    assert subject_of("acme", [], None, lines).request_ids == ("r1", "r 2")


@pytest.mark.parametrize(
    ("tenant", "ids", "user", "lines", "said"),
    [
        ("Acme", ["r1"], None, None, "not a tenant"),
        ("acme", [], None, None, "give one of"),
        ("acme", ["r1"], "u", None, "give one of"),
        ("acme", [], "u", ["r1"], "give one of"),
        ("acme", [], "", None, "it is empty"),
        ("acme", [], None, [" \n"], "names no request"),
        ("acme", ["a\x00b"], None, None, "not a request id"),
        ("acme", [], None, ["x" * 257], "not a request id"),
        ("acme", [], None, map(str, range(MOST_REQUESTS + 1)), "too many"),
    ],
)
def test_a_call_without_a_subject_or_with_two_is_refused(
    tenant: str, ids: list[str], user: str | None, lines: list[str] | None, said: str
) -> None:
    """Before any server is asked."""
    with pytest.raises(ValueError, match=said):
        subject_of(tenant, ids, user, lines)


def test_a_wrong_call_ends_with_the_code_for_that() -> None:
    """And one sentence."""
    ended = afterword("erase", "--tenant", "acme")

    assert (ended.code, ended.err.strip()) == (2, "give one of --request-id, --user-id and --from-file")


def test_servers_that_are_away_are_named() -> None:
    """With the exit code for that."""
    ended = afterword(
        "erase", "--tenant", "acme", "--request-id", "r1",
        environ={"CLICKHOUSE_URL": "http://127.0.0.1:1", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
    )  # fmt: skip

    assert ended.code == 75
    assert "ClickHouse at http://127.0.0.1:1 does not answer" in ended.err


def test_a_plan_has_counts_and_no_content() -> None:
    """Every table is named, also those that have nothing."""
    text = "\n".join(plan("acme", 1, {"feedback": 1, "feedback_events": 1_234}, by_user=True))

    assert "1 request of tenant acme" in text
    assert "1,234 events in the history" in text
    assert "0 dead letters" in text
    assert "still in Kafka" in text
