"""Sessions of browsers: signed cookies, and the checks that keep other sites from using them.

Nothing is stored: every process that reads the same key file accepts the same sessions, a revoked key ends
its sessions, and only a process that has read the key file can issue one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner

COOKIE = "afterword_session"

_SALT = "afterword.session"


@dataclass(frozen=True)
class Session:
    """The content of a cookie, not verified yet."""

    key_id: str
    token: str


def named(token: str) -> Session | None:
    """Return the session that a cookie's value claims, or None if it is malformed."""
    key_id, *rest = token.rsplit(".", 2)
    return Session(key_id, token) if key_id and len(rest) == 2 else None


def issue(key_id: str, digest: bytes, now: float) -> str:
    """Return the value of a cookie for a browser that presented the key; `now` is Unix time in seconds."""
    return _Signer(digest, now).sign(key_id).decode()


def is_valid(session: Session, digest: bytes, max_age_seconds: float, now: float) -> bool:
    """Return whether the session was issued for the key with this digest, and has not expired at `now`."""
    try:
        signed = _Signer(digest, now).unsign(session.token, max_age=int(max_age_seconds))
    except BadSignature:
        return False
    return signed.decode() == session.key_id


class _Signer(TimestampSigner):
    """Signs with a given time instead of the clock."""

    def __init__(self, digest: bytes, now: float) -> None:
        super().__init__(digest, salt=_SALT)
        self._now = int(now)

    def get_timestamp(self) -> int:
        return self._now


_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a request that changes state came from a page of ours, or from no browser.

    Every current browser sends Sec-Fetch-Site to trustworthy addresses, and Origin with each form.  A client
    that sends neither is no browser, so no other site can make it send a cookie.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        # Not the scheme: behind a TLS proxy it is https there and http here.
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:
        return False


def local(address: str) -> str:
    """Return an address if it is a path on this host, else `/`."""
    return address if _LOCAL.fullmatch(address) else "/"
