"""Whose feedback a call is about.  Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.identity import is_request_id, is_tenant
from services.erasure.core.erasures import user_hash

MOST_REQUESTS = 100_000
"""In one call; a user may have any number."""
ONE = "say one of --request-id, --user-id and --from-file"


@dataclass(frozen=True)
class Subject:
    """Requests, or the user behind a hash."""

    tenant: str
    request_ids: tuple[str, ...] = ()
    user_hash: str = ""


def subject(
    tenant: str, request_ids: Sequence[str], user_id: str | None, lines: Iterable[str] | None
) -> Subject:
    """Return what the options name; ValueError when that is nothing, or two things."""
    if not is_tenant(tenant):
        raise ValueError(f"--tenant: {tenant!r} can be no tenant: lower-case letters, digits and dashes")
    if sum((bool(request_ids), user_id is not None, lines is not None)) != 1:
        raise ValueError(ONE)
    if user_id is not None:
        if not user_id:
            raise ValueError("--user-id: an empty one would be nobody")
        return Subject(tenant, user_hash=user_hash(tenant, user_id))
    wanted = tuple(dict.fromkeys(request_ids or _ids(lines or ())))
    return Subject(tenant, _checked(wanted))


def _ids(lines: Iterable[str]) -> list[str]:
    ids = [line.rstrip("\r\n") for line in lines]
    return [one for one in ids if one.strip()]


def _checked(wanted: tuple[str, ...]) -> tuple[str, ...]:
    if not wanted:
        raise ValueError("the file names no request")
    if len(wanted) > MOST_REQUESTS:
        raise ValueError(f"{len(wanted):,} requests are too many for one call; at most {MOST_REQUESTS:,}")
    wrong = next((one for one in wanted if not is_request_id(one)), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:80]!r} can be no request id: 1 to 256 characters, no control characters")
    return wanted
