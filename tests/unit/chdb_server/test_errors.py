"""Errors in ClickHouse's words."""

import pytest

from chdb_server.core.errors import ClickHouseCode, QueryRefusedError, failure_of


def test_a_refusal_reads_as_an_engine_error_does() -> None:
    """Clients take code and name out of the text."""
    failure = failure_of(QueryRefusedError(ClickHouseCode.READONLY, "No."))

    assert (failure.code, failure.text) == (164, "Code: 164. DB::Exception: No. (READONLY)")
    assert failure.body == b"Code: 164. DB::Exception: No. (READONLY)\n"


def test_an_engine_error_keeps_its_code_even_if_its_text_is_not_utf_8() -> None:
    """Chdb raises another class then, which holds the text."""
    text = b"Code: 117. DB::Exception: near \xff"
    with pytest.raises(UnicodeDecodeError) as caught:
        text.decode()
    failure = failure_of(caught.value)

    assert (failure.code, failure.text) == (117, "Code: 117. DB::Exception: near \\xff")


def test_any_other_error_is_named_and_has_a_code_too() -> None:
    """Lone surrogates in it must not break the answer."""
    failure = failure_of(ValueError("x\ud800"))

    assert failure.code == 1002
    assert b"ValueError: x\\ud800 (UNKNOWN_EXCEPTION)\n" in failure.body


@pytest.mark.parametrize(
    ("code", "status"),
    [(62, 400), (194, 401), (516, 403), (60, 404), (159, 408), (229, 413), (48, 501), (241, 500), (209, 503)],
)
def test_statuses_are_a_servers(code: int, status: int) -> None:
    """From its source; a code without a rule is 500."""
    assert status == failure_of(RuntimeError(f"Code: {code}. DB::Exception: x")).status
