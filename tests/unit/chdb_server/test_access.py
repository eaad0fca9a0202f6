"""Which clients may query."""

from base64 import b64encode

import pytest

from chdb_server.core.access import Account, authenticate, is_loopback, refuse_foreign
from chdb_server.core.errors import QueryRefusedError

WRITER = Account("default", "", may_write=True)
READER = Account("analyst", "pass:word", may_write=False)
ACCOUNTS = {account.name: account for account in (WRITER, READER)}


def basic(text: str) -> dict[str, str]:
    """Return a Basic authorization header."""
    return {"authorization": "Basic " + b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "params"),
    [
        (basic("analyst:pass:word"), {}),
        ({"x-clickhouse-user": "analyst", "x-clickhouse-key": "pass:word"}, {}),
        ({}, {"user": "analyst", "password": "pass:word"}),
        (basic("analyst:pass:word"), {"user": "default"}),
    ],
)
def test_a_user_is_named_in_any_of_clickhouses_ways(headers: dict[str, str], params: dict[str, str]) -> None:
    """Headers go before the address."""
    assert authenticate(ACCOUNTS, headers, params) == READER


def test_without_a_name_it_is_the_default_user() -> None:
    """As on a server."""
    assert authenticate(ACCOUNTS, {}, {}) == WRITER


@pytest.mark.parametrize(
    "headers",
    [
        basic("analyst:wrong"),
        basic("nobody:"),
        basic("default:guess"),
        {"authorization": "Basic ?"},
        {"authorization": "Basic " + b64encode(b"\xff:").decode()},
        {"x-clickhouse-key": "guess"},
    ],
)
def test_wrong_credentials_are_refused(headers: dict[str, str]) -> None:
    """Damaged ones too, and an unknown user with the empty password of nobody."""
    with pytest.raises(QueryRefusedError, match="AUTHENTICATION_FAILED"):
        authenticate(ACCOUNTS, headers, {})


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost", "LOCALHOST:1", "[::1]:8123", "127.0.0.2"])
def test_names_of_this_machine_are_let_in(host: str) -> None:
    """As Host, and as the Origin of a page."""
    refuse_foreign({"host": host})
    refuse_foreign({"host": host, "origin": f"http://{host}"})


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8123"},
        {"host": "localhost.evil.example"},
        {"host": "192.168.0.1:8123"},
        {"host": "[::"},
        {"host": ""},
        {"host": "127.0.0.1", "origin": "https://evil.example"},
        {"host": "127.0.0.1", "origin": "null"},
        {"host": "127.0.0.1", "origin": ""},
        {"host": "127.0.0.1", "sec-fetch-site": "cross-site"},
    ],
)
def test_pages_of_other_sites_are_refused(headers: dict[str, str]) -> None:
    """A name that was bound to 127.0.0.1 is still somebody else's."""
    with pytest.raises(QueryRefusedError, match="ACCESS_DENIED"):
        refuse_foreign(headers)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "example.com", "::", "10.0.0.1", "localhost.localdomain"])  # noqa: S104 (refused)
def test_only_loopback_is_loopback(host: str) -> None:
    """Names that a name server could answer for are not."""
    assert not is_loopback(host)
