"""API keys, tenants and scopes: who may do what, read from a file that holds no key.

The file is TOML with the SHA-256 of each key, reread when it changes.  Without a file a service is
open, but to this machine only: whoever can reach it is the default tenant, and browsers' pages
from elsewhere are refused.
"""

import hmac
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import structlog

from schemas.identity import DEFAULT_TENANT, TENANT_PATTERN

log = structlog.get_logger()

CHECK_SECONDS = 1.0
"""How often a changed file is looked for, at most."""


class Scope(StrEnum):
    """What a key allows."""

    WRITE = "write"
    """Send events."""
    READ = "read"
    """Read the tenant's rows."""
    ADMIN = "admin"
    """Erase, and everything that the other scopes allow."""


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as the file has it."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    tenant: Annotated[str, msgspec.Meta(pattern=TENANT_PATTERN)]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    created_at: datetime
    name: str = ""
    known_requests: bool = False


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: tuple[KeyRecord, ...] = ()


@dataclass(frozen=True)
class Caller:
    """Who sends a request."""

    tenant: str
    scopes: frozenset[Scope]
    known_requests: bool = False

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller has a scope; `admin` has all of them."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL_CALLER = Caller(DEFAULT_TENANT, frozenset(Scope))
"""Whoever reaches a service that has no key file."""


class KeyFileError(ValueError):
    """A key file that cannot be read."""


class Unauthenticated(Exception):  # noqa: N818 (the caller's fault, not an error of ours)
    """No key, or one that is not known."""


class Forbidden(Exception):  # noqa: N818
    """A request that nobody may make here."""


def digest(key: str) -> str:
    """Return what the file keeps of a key."""
    return sha256(key.encode()).hexdigest()


def parse(text: str) -> tuple[KeyRecord, ...]:
    """Return the keys of a file; KeyFileError says what is wrong with it."""
    try:
        keys = msgspec.convert(tomllib.loads(text), _File).keys
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise KeyFileError(str(error)) from None
    for unique in ("id", "sha256"):
        values = [getattr(key, unique) for key in keys]
        if len(set(values)) != len(values):
            raise KeyFileError(f"two keys have the same {unique}")
    return keys


class KeyRing:
    """Finds the caller of a key."""

    def __init__(self, keys: Iterable[KeyRecord]) -> None:
        keys = tuple(keys)
        self._ids = {key.id: bytes.fromhex(key.sha256) for key in keys}
        self._callers = {
            bytes.fromhex(key.sha256)[:8]: (
                bytes.fromhex(key.sha256),
                Caller(key.tenant, frozenset(key.scopes), key.known_requests),
            )
            for key in keys
        }

    def caller(self, key: bytes) -> Caller | None:
        """Return whose key it is.

        The time this takes tells nothing of any key: what is compared is the digest, found by its
        first bytes and compared in constant time.
        """
        return self.owner(sha256(key).digest())

    def owner(self, digest: bytes) -> Caller | None:
        """Return whose key has this SHA-256."""
        expected, caller = self._callers.get(digest[:8], (b"", None))
        return caller if hmac.compare_digest(digest, expected) else None

    def digest(self, key_id: str) -> bytes | None:
        """Return the SHA-256 of the key with this id."""
        return self._ids.get(key_id)

    def key_id(self, key: bytes) -> str | None:
        """Return the id of a key that is known."""
        found = sha256(key).digest()
        return next((name for name, digest in self._ids.items() if hmac.compare_digest(digest, found)), None)


@dataclass
class KeyFile:
    """A key file, reread when it changes.

    A file that has become unreadable changes nothing but `problem`: the keys last read stay valid.
    """

    path: Path
    clock: Callable[[], float]
    """Seconds, monotonic."""
    problem: str | None = None
    _ring: KeyRing | None = None
    _seen: tuple[int, ...] | None = None
    _next_check: float = field(default=float("-inf"))

    def ring(self) -> KeyRing | None:
        """Return the keys, or None while there has never been a file."""
        now = self.clock()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._look()
        return self._ring

    def _look(self) -> None:
        try:
            stat = self.path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            self._ring, self._seen, self.problem = KeyRing(parse(self.path.read_text())), seen, None
            log.info("keys read", path=str(self.path))
        except FileNotFoundError:
            if self._ring is not None:
                self._complain(f"{self.path} is gone; the keys last read stay valid")
        except (OSError, UnicodeDecodeError, KeyFileError) as error:
            self._complain(f"{self.path} cannot be read: {error}")

    def _complain(self, problem: str) -> None:
        if self.problem != problem:
            log.error("keys not read", problem=problem)
        self.problem, self._seen = problem, None


class Guard:
    """Decides who a request comes from: by its key, or by where it comes from if there are no keys."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys

    def caller(
        self,
        *,
        authorization: bytes | None = None,
        x_api_key: bytes | None = None,
        path_key: bytes | None = None,
        host: bytes | None = None,
        origin: bytes | None = None,
    ) -> Caller:
        """Return who sends these headers; raise Unauthenticated or Forbidden.

        A key in the path counts before headers, and gives the scope `write` only.
        """
        ring = self._keys.ring()
        if ring is None:
            return self._neighbour(host, origin)
        if path_key is not None:
            return _write_only(_known(ring.caller(path_key)))
        scheme, _, bearer = (authorization or b"").partition(b" ")
        key = bearer.strip() if scheme.lower() == b"bearer" else x_api_key
        if not key:
            raise Unauthenticated("send a key: `Authorization: Bearer <key>` or `x-api-key: <key>`")
        return _known(ring.caller(key))

    def check_neighbour(self, host: bytes | None, origin: bytes | None) -> None:
        """Raise Forbidden for what comes from elsewhere while there are no keys.

        A page from another site may have a name that leads here (DNS rebinding): its Host tells.
        """
        if self._keys.ring() is not None:
            return
        if host and not is_loopback(_hostname(f"//{host.decode('latin-1')}")):
            raise Forbidden("without a key file only this machine is served: the Host is a foreign one")
        if origin and not is_loopback(_hostname(origin.decode("latin-1"))):
            raise Forbidden("without a key file only this machine is served: the Origin is a foreign one")

    def _neighbour(self, host: bytes | None, origin: bytes | None) -> Caller:
        if self._keys.problem is not None:
            raise Unauthenticated("the key file cannot be read; the service's log says why")
        self.check_neighbour(host, origin)
        return LOCAL_CALLER


def _known(caller: Caller | None) -> Caller:
    if caller is None:
        raise Unauthenticated("this key is not known, or it was revoked")
    return caller


def _write_only(caller: Caller) -> Caller:
    if not caller.may(Scope.WRITE):
        raise Forbidden("this key does not have the scope `write`")
    return Caller(caller.tenant, frozenset({Scope.WRITE}), caller.known_requests)


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine only."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def refusal_to_listen(keys: KeyFile, host: str) -> str | None:
    """Return why a service must not listen on an address, or None."""
    if keys.ring() is None and keys.problem is not None:
        return keys.problem
    if keys.ring() is None and not is_loopback(host):
        return (
            f"there is no key file at {keys.path}, so only this machine may be served, not {host}: "
            "run `afterword keys create`, or listen on 127.0.0.1"
        )
    return None
