"""Checks who sends a request: accounts with passwords, and no web page of another site."""

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from chdb_server.core.errors import ClickHouseCode, QueryRefusedError


@dataclass(frozen=True)
class Account:
    """A user.  Without `may_write` it can change neither data nor the engine's state."""

    name: str
    password: str
    may_write: bool


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is loopback, without asking a name server."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refuse_foreign(headers: Mapping[str, str]) -> None:
    """Refuse requests of web pages from other sites: loopback keeps out other machines, but not browsers.

    A page whose name resolves to 127.0.0.1 (DNS rebinding) sends its own name as Host; other pages send their
    own Origin.
    """
    host = headers.get("host")
    if host is not None and not is_loopback(_hostname(f"//{host}")):
        text = f"Host {host!r} is not this machine: use 127.0.0.1 or localhost."
        raise QueryRefusedError(ClickHouseCode.ACCESS_DENIED, text)
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_hostname(origin)):
        raise QueryRefusedError(
            ClickHouseCode.ACCESS_DENIED, f"Requests from pages of {origin!r} are refused."
        )
    if origin is None and headers.get("sec-fetch-site") == "cross-site":
        raise QueryRefusedError(
            ClickHouseCode.ACCESS_DENIED, "Requests from pages of other sites are refused."
        )


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def authenticate(
    accounts: Mapping[str, Account], headers: Mapping[str, str], params: Mapping[str, str]
) -> Account:
    """Return the account of a request: by Basic authentication, headers or URL parameters.

    QueryRefusedError if the user is unknown or the password is wrong.
    """
    name, password = _credentials(headers, params)
    account = accounts.get(name)
    # Compared for unknown users too, so that the time taken reveals nothing.
    expected = account.password if account else ""
    if hmac.compare_digest(password.encode(), expected.encode()) and account:
        return account
    text = f"{name}: Authentication failed: password is incorrect, or there is no such user."
    raise QueryRefusedError(ClickHouseCode.AUTHENTICATION_FAILED, text)


def _credentials(headers: Mapping[str, str], params: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = b64decode(token, validate=True).decode().partition(":")
        except (Base64Error, UnicodeDecodeError):
            raise QueryRefusedError(
                ClickHouseCode.AUTHENTICATION_FAILED, "The Authorization header is damaged."
            ) from None
        return name, password
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    return params.get("user", "default"), params.get("password", "")
