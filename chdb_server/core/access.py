"""Who may ask: accounts with passwords, and no web page of another site."""

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from chdb_server.core.errors import Code, RefusedError


@dataclass(frozen=True)
class Account:
    """A user.  One that may not write can change neither data nor the engine's state."""

    name: str
    password: str
    may_write: bool


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine whatever a name server says."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refuse_foreign(headers: Mapping[str, str]) -> None:
    """Refuse what a browser sends for somebody else's page: loopback keeps other machines out, not pages.

    A page whose name was bound to 127.0.0.1 sends its own name as Host; any page can send requests whose
    Origin is the page's.
    """
    host = headers.get("host")
    if host is not None and not is_loopback(_hostname(f"//{host}")):
        text = f"Host {host!r} is not this machine: use 127.0.0.1 or localhost."
        raise RefusedError(Code.ACCESS_DENIED, text)
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_hostname(origin)):
        raise RefusedError(Code.ACCESS_DENIED, f"Requests from pages of {origin!r} are refused.")
    if origin is None and headers.get("sec-fetch-site") == "cross-site":
        raise RefusedError(Code.ACCESS_DENIED, "Requests from pages of other sites are refused.")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def authenticate(
    accounts: Mapping[str, Account], headers: Mapping[str, str], params: Mapping[str, str]
) -> Account:
    """Return the account that a request names by Basic authentication, headers or address."""
    name, password = _credentials(headers, params)
    account = accounts.get(name)
    # Compared even when there is no such user, so that the time taken tells nothing.
    expected = account.password if account else ""
    if hmac.compare_digest(password.encode(), expected.encode()) and account:
        return account
    text = f"{name}: Authentication failed: password is incorrect, or there is no such user."
    raise RefusedError(Code.AUTHENTICATION_FAILED, text)


def _credentials(headers: Mapping[str, str], params: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = b64decode(token, validate=True).decode().partition(":")
        except (Base64Error, UnicodeDecodeError):
            raise RefusedError(Code.AUTHENTICATION_FAILED, "The Authorization header is damaged.") from None
        return name, password
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    return params.get("user", "default"), params.get("password", "")
