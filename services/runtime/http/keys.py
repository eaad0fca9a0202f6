"""API keys, tenants and scopes, read from a file that holds only digests of keys.

The file is TOML with the SHA-256 of each key, reread when it changes.  Without a file a service is
open, but to this machine only: every client is the default tenant, and pages of other origins are
refused.
"""

import asyncio
import hmac
import stat
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog

from schemas.identity import DEFAULT_TENANT
from services.runtime.http.core.key_records import (
    KeyFileError,
    KeyRecord,
    Keys,
    Scope,
    TenantRecord,
    digest,
    ends_at,
    parse,
    parse_file,
    parse_named,
)
from services.runtime.http.core.proxies import is_forwarded

__all__ = [
    "CHECK_SECONDS",
    "LOCAL_CALLER",
    "Caller",
    "Forbidden",
    "Guard",
    "KeyFile",
    "KeyFileError",
    "KeyRecord",
    "KeyRing",
    "Keys",
    "Scope",
    "TenantRecord",
    "Unauthenticated",
    "digest",
    "is_loopback",
    "parse",
    "parse_file",
    "refusal_to_listen",
]

log = structlog.get_logger()

CHECK_SECONDS = 1.0
"""How often a changed file is looked for, at most."""

_NO_DIGEST = bytes(32)
"""What an unknown key is compared with, so that it takes as long as a known one; nothing has this SHA-256."""


@dataclass(frozen=True)
class Caller:
    """The caller of a request."""

    tenant: str
    scopes: frozenset[Scope]
    known_requests: bool = False
    key_id: str = ""
    """Empty where there are no keys."""
    key_rate: float | None = None
    """Events per second that the key may send; None: no limit of its own."""
    tenant_rate: float | None = None
    """Events per second that the tenant may send; None: the service's setting."""
    store_texts: bool | None = None
    """Whether prompts and responses of the tenant's requests are stored; None: the service's setting."""

    def may(self, scope: Scope) -> bool:
        """Return whether the caller has a scope; `admin` has all of them."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL_CALLER = Caller(DEFAULT_TENANT, frozenset(Scope))
"""The caller of a service that has no key file."""


class Unauthenticated(Exception):  # noqa: N818 (the caller's fault, not an error of ours)
    """No key, or one that is not known."""


class Forbidden(Exception):  # noqa: N818
    """A request that the caller may not make here."""


class KeyRing:
    """Finds the caller of a key, as long as the key is valid.  `now` returns Unix time in seconds."""

    def __init__(self, file: Keys, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._ids = {key.id: bytes.fromhex(key.sha256) for key in file.keys}
        self._callers = {
            bytes.fromhex(key.sha256)[:8]: (
                bytes.fromhex(key.sha256),
                _caller(key, file.tenants),
                ends_at(key),
            )
            for key in file.keys
        }

    @property
    def is_empty(self) -> bool:
        """There are no keys, so no request can be let in."""
        return not self._ids

    def caller(self, key: bytes) -> Caller | None:
        """Return whose key it is.

        The time this takes reveals nothing of any key: what is compared is the digest, found by its
        first bytes and compared in constant time, and what is not found is compared as well.
        """
        return self.owner(sha256(key).digest())

    def owner(self, digest: bytes) -> Caller | None:
        """Return whose key has this SHA-256."""
        expected, caller, ends = self._callers.get(digest[:8], (_NO_DIGEST, None, inf))
        return caller if hmac.compare_digest(digest, expected) and self._now() < ends else None

    def digest(self, key_id: str) -> bytes | None:
        """Return the SHA-256 of the key with this id."""
        return self._ids.get(key_id)

    def key_id(self, key: bytes) -> str | None:
        """Return the id of a key that is known."""
        caller = self.caller(key)
        return None if caller is None else caller.key_id


def _caller(key: KeyRecord, tenants: Mapping[str, TenantRecord]) -> Caller:
    tenant = tenants.get(key.tenant, TenantRecord())
    rates = key.events_per_second, tenant.events_per_second
    return Caller(key.tenant, frozenset(key.scopes), key.known_requests, key.id, *rates, tenant.store_texts)


NO_KEYS = "there are no keys yet: run `afterword keys create`"


class _Content(NamedTuple):
    """What a key file holds.  `ring` None: it cannot be read, for the reason `problem`."""

    ring: KeyRing | None
    problem: str = ""
    is_named: bool = True
    """The file names its keys, or states that there are none."""
    is_settled: bool = True
    """Reading it again gives the same, until it changes."""


@dataclass
class KeyFile:
    """A key file, reread when it changes.

    A file that is damaged changes nothing but `problem`: the keys last read stay valid.  Damaged is also a
    file that has lost all its keys without saying so.  Each content is read once, and beside the event loop
    where there is one, but for the first: before that no caller is accepted.
    """

    path: Path
    clock: Callable[[], float]
    """Seconds, monotonic."""
    wall_clock: Callable[[], float] = time.time
    """Unix time in seconds, by which keys expire."""
    problem: str | None = None
    _ring: KeyRing | None = None
    _seen: tuple[int, ...] | None = None
    _has_looked: bool = False
    _is_reading: bool = False
    _next_check: float = field(default=float("-inf"))

    def ring(self) -> KeyRing | None:
        """Return the keys, or None while there has never been a file."""
        now = self.clock()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            if not self._is_reading:
                self._look()
        return self._ring

    def warning(self) -> str | None:
        """Return what is wrong with the file while the keys last read serve on."""
        return None if self.refusal() is not None else self.problem

    def refusal(self) -> str | None:
        """Return why no request can be let in though there is a file, and what to do; else None."""
        ring = self.ring()
        return self.problem if ring is None or ring.is_empty else None

    def _look(self) -> None:
        has_looked, self._has_looked = self._has_looked, True
        try:
            found = self.path.stat()
        except FileNotFoundError:
            if self._ring is not None:
                self._complain(f"{self.path} is gone; the keys last read stay valid")
            self._seen = None
            return
        except OSError as error:
            self._complain(f"{self.path} cannot be read: {error}")
            self._seen = None
            return
        seen = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        self._check_mode(found.st_mode)
        loop = _running_loop() if has_looked else None
        if loop is None:
            self._take(self._read())
        else:
            self._is_reading = True
            loop.run_in_executor(None, self._read).add_done_callback(lambda read: self._take(read.result()))

    def _read(self) -> _Content:
        """Read the file, in whichever thread."""
        try:
            file, is_named = parse_named(self.path.read_text())
        except OSError as error:
            return _Content(None, f"{self.path} cannot be read: {error}", is_settled=False)
        except (UnicodeDecodeError, KeyFileError) as error:
            return _Content(None, f"{self.path} cannot be read: {error}")
        return _Content(KeyRing(file, self.wall_clock), is_named=is_named)

    def _take(self, content: _Content) -> None:
        self._is_reading = False
        if not content.is_settled:
            self._seen = None
        if content.ring is None:
            self._complain(content.problem)
            return
        is_cut = content.ring.is_empty and not content.is_named
        if is_cut and self._ring is not None and not self._ring.is_empty:
            self._complain(
                f"{self.path} has no keys any more; the keys last read stay valid: restore the file, or "
                "write `keys = []` into it if there are to be none"
            )
            return
        self._ring = content.ring
        if is_cut:
            self._complain(f"{self.path} has no keys: run `afterword keys create`")
            return
        self.problem = None
        log.info("keys read", path=str(self.path))

    def _check_mode(self, mode: int) -> None:
        """Warn of a file that others may read or write: what it holds of a key signs browsers' sessions."""
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            fix = f"chmod 600 {self.path}"
            log.warning("others may read or write the key file", mode=f"{stat.S_IMODE(mode):o}", mend=fix)

    def _complain(self, problem: str) -> None:
        if self.problem != problem:
            log.error("keys not read", problem=problem)
        self.problem = problem


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


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
        headers: Mapping[bytes, bytes] | None = None,
    ) -> Caller:
        """Return who sends these headers; raise Unauthenticated or Forbidden.

        A key in the path counts before headers, and gives the scope `write` only.  `headers` are all of them,
        since a proxy may report that the request comes from elsewhere.
        """
        ring = self._keys.ring()
        if ring is None:
            return self._neighbour(host, origin, headers)
        if ring.is_empty:
            raise Unauthenticated(NO_KEYS)
        if path_key is not None:
            return _write_only(_known(ring.caller(path_key)))
        key = _credential(authorization) or x_api_key
        if not key:
            raise Unauthenticated("send a key: `Authorization: Bearer <key>` or `x-api-key: <key>`")
        return _known(ring.caller(key))

    def check_neighbour(
        self, host: bytes | None, origin: bytes | None, headers: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Raise Forbidden for what comes from elsewhere while there are no keys.

        A page from another site may have a name that resolves here (DNS rebinding): its Host shows it.
        A proxy on this machine names its client, or the host that it was asked for.
        """
        if self._keys.ring() is not None:
            return
        if host and not is_loopback(_hostname(f"//{host.decode('latin-1')}")):
            raise Forbidden("without a key file only this machine is served: the Host is a foreign one")
        if origin and not is_loopback(_hostname(origin.decode("latin-1"))):
            raise Forbidden("without a key file only this machine is served: the Origin is a foreign one")
        if headers and is_forwarded(headers):
            raise Forbidden("without a key file only this machine is served: a proxy names a foreign client")

    def _neighbour(
        self, host: bytes | None, origin: bytes | None, headers: Mapping[bytes, bytes] | None
    ) -> Caller:
        if self._keys.problem is not None:
            raise Unauthenticated("the key file cannot be read; the service's log says why")
        self.check_neighbour(host, origin, headers)
        return LOCAL_CALLER


def _credential(authorization: bytes | None) -> bytes:
    """Return the key in an Authorization header: the token, or the password; the user name is ignored."""
    scheme, _, value = (authorization or b"").partition(b" ")
    name, value = scheme.lower(), value.strip()
    if name == b"bearer":
        return value
    if name != b"basic":
        return b""
    try:
        return b64decode(value, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _known(caller: Caller | None) -> Caller:
    if caller is None:
        raise Unauthenticated("this key is not known, or it was revoked")
    return caller


def _write_only(caller: Caller) -> Caller:
    if not caller.may(Scope.WRITE):
        raise Forbidden("this key does not have the scope `write`")
    return replace(caller, scopes=frozenset({Scope.WRITE}))


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine only."""
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
