"""Sign-ins of browsers: a cookie that names a key, and is signed with what the key file keeps of it.  Pure.

Nothing is stored: every process that reads the same key file knows the same sessions, a revoked key ends
its sessions, and whoever has not read the key file can make none.
"""

from dataclasses import dataclass

from itsdangerous import BadSignature, TimestampSigner

COOKIE = "afterword_session"

_SALT = "afterword.session"


@dataclass(frozen=True)
class Session:
    """What a cookie says, before anything of it is believed."""

    key_id: str
    token: str


def named(token: str) -> Session | None:
    """Return which key a cookie's value names, or None if it names none."""
    key_id, *rest = token.rsplit(".", 2)
    return Session(key_id, token) if key_id and len(rest) == 2 else None


def issue(key_id: str, digest: bytes, now: float) -> str:
    """Return the value of a cookie for somebody who has shown the key; `now` is Unix time in seconds."""
    return _Signer(digest, now).sign(key_id).decode()


def is_valid(session: Session, digest: bytes, max_age_seconds: float, now: float) -> bool:
    """Tell whether the session was issued for the key with this digest, and not too long before `now`."""
    try:
        signed = _Signer(digest, now).unsign(session.token, max_age=int(max_age_seconds))
    except BadSignature:
        return False
    return signed.decode() == session.key_id


class _Signer(TimestampSigner):
    """Signs for a moment that it is told."""

    def __init__(self, digest: bytes, now: float) -> None:
        super().__init__(digest, salt=_SALT)
        self._now = int(now)

    def get_timestamp(self) -> int:
        return self._now
