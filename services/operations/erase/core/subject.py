"""Whose feedback is erased, and the text of the dry run, which has counts and never content."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.identity import is_request_id, is_tenant
from services.erasure.core.erasures import user_hash

MOST_REQUESTS = 100_000
"""In one command; a user may have any number."""
ONE = "give one of --request-id, --user-id and --from-file"


@dataclass(frozen=True)
class ErasureSubject:
    """Requests, or the user behind a hash."""

    tenant: str
    request_ids: tuple[str, ...] = ()
    user_hash: str = ""


def subject_of(
    tenant: str, request_ids: Sequence[str], user_id: str | None, lines: Iterable[str] | None
) -> ErasureSubject:
    """Return the subject of the options; ValueError if there is none, or more than one."""
    if not is_tenant(tenant):
        raise ValueError(f"--tenant: {tenant!r} is not a tenant: lower-case letters, digits and dashes")
    if sum((bool(request_ids), user_id is not None, lines is not None)) != 1:
        raise ValueError(ONE)
    if user_id is not None:
        if not user_id:
            raise ValueError("--user-id: it is empty")
        return ErasureSubject(tenant, user_hash=user_hash(tenant, user_id))
    wanted = tuple(dict.fromkeys(request_ids or _ids(lines or ())))
    return ErasureSubject(tenant, _checked(wanted))


def _ids(lines: Iterable[str]) -> list[str]:
    ids = [line.rstrip("\r\n") for line in lines]
    return [one for one in ids if one.strip()]


def _checked(wanted: tuple[str, ...]) -> tuple[str, ...]:
    if not wanted:
        raise ValueError("the file names no request")
    if len(wanted) > MOST_REQUESTS:
        raise ValueError(f"{len(wanted):,} requests are too many for one command; at most {MOST_REQUESTS:,}")
    wrong = next((one for one in wanted if not is_request_id(one)), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:80]!r} is not a request id: 1 to 256 characters, no control characters")
    return wanted


WORDS = {
    "feedback": "current rows of requests",
    "feedback_state": "versions of these rows",
    "feedback_events": "events in the history",
    "dead_letters": "dead letters",
}


def plan(tenant: str, requests: int, found: Mapping[str, int], *, by_user: bool) -> list[str]:
    """Return what would be deleted, as lines."""
    lines = [f"{requests:,} request{'' if requests == 1 else 's'} of tenant {tenant}:"]
    lines += [f"  {found.get(name, 0):>9,} {words}" for name, words in WORDS.items()]
    if by_user:
        lines.append("Records that name the user and are still in Kafka are found, too.")
    lines.append("They are deleted for good, and do not come back when older events are read again.")
    return lines
