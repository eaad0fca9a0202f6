"""The key file: creating, limiting, revoking and listing API keys.

One editor at a time changes the file, and comments in it are kept; readers see the old or the new file.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from rich.table import Table

from schemas.identity import is_tenant
from services.operations.exits import CommandError, UsageError
from services.runtime.http.core.key_records import (
    KeyFileError,
    KeyRecord,
    Keys,
    Scope,
    TenantRecord,
    digest,
    has_expired,
    parse_file,
)

KEY_PREFIX = "aw_"
HEADER = (
    "API keys of Afterword. Only the SHA-256 of each key is here; `afterword keys` writes this file,",
    "and running services read it again within a second.",
)


class CreatedKey(NamedTuple):
    """A new key and its record.  The file has only a hash of the key."""

    key: str
    record: KeyRecord


def create_key(
    path: Path,
    *,
    tenant: str,
    scopes: Sequence[str],
    name: str = "",
    known_requests: bool = False,
    events_per_second: float | None = None,
    expires_at: datetime | None = None,
) -> CreatedKey:
    """Add a new key to a file, and return it; a missing file is created.  UsageError, CommandError."""
    if not is_tenant(tenant):
        raise UsageError(f"{tenant!r} is no valid tenant: lower-case letters, digits and dashes, at most 63")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    record = KeyRecord(
        id=f"k-{secrets.token_hex(4)}",
        sha256=digest(key),
        tenant=tenant,
        scopes=tuple(dict.fromkeys(Scope(scope) for scope in scopes)),
        created_at=datetime.now(UTC).replace(microsecond=0),  # noqa: TID251 (the rim of a command)
        name=name,
        known_requests=known_requests,
        events_per_second=events_per_second,
        expires_at=expires_at,
    )
    with _edited(path) as document:
        if not document.get("keys"):  # `keys = []` cannot be appended to
            document.pop("keys", None)
            document["keys"] = tomlkit.aot()
        document["keys"].append(_table(record))
    return CreatedKey(key, record)


def revoke_keys(path: Path, ids: Sequence[str]) -> None:
    """Remove keys from a file; UsageError, and nothing is removed, if one of them does not exist.

    After the last one the file has `keys = []`, with which services refuse every request.
    """
    read_keys(path)
    with _edited(path) as document:
        keys = document.get("keys", [])
        missing = sorted({*ids} - {key["id"] for key in keys})
        if missing:
            raise UsageError(f"{path} has no key {', '.join(missing)}; `afterword keys list` shows all")
        for index in reversed(range(len(keys))):
            if keys[index]["id"] in ids:
                del keys[index]
        if not keys:
            del document["keys"]
            document["keys"] = tomlkit.array()


def limit_tenant(path: Path, tenant: str, events_per_second: float | None) -> None:
    """Set the rate limit of a tenant; None removes it, so that the setting of the service applies."""
    if not is_tenant(tenant):
        raise UsageError(f"{tenant!r} is no valid tenant: lower-case letters, digits and dashes, at most 63")
    read_keys(path)
    with _edited(path) as document:
        tenants = document.setdefault("tenants", tomlkit.table(is_super_table=True))
        if events_per_second is None:
            tenants.pop(tenant, None)
        else:
            tenants[tenant] = {"events_per_second": events_per_second}


def read_keys(path: Path) -> tuple[KeyRecord, ...]:
    """Return the keys of a file."""
    return read_file(path).keys


def read_file(path: Path) -> Keys:
    """Return the keys and tenants of a file; UsageError if it is missing or invalid."""
    try:
        return parse_file(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"there is no key file at {path}; `afterword keys create` makes one") from None
    except KeyFileError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None


def key_table(keys: Keys, now: datetime) -> Table:
    """Return the list of all keys; columns for expiry and limits only if a key has one."""
    table = Table("id", "tenant", "scopes", "name", "created", box=None, header_style="bold")
    expires = any(record.expires_at for record in keys.keys)
    if expires:
        table.add_column("expires")
    limits = [limits_of(record, keys) for record in keys.keys]
    if any(limits):
        table.add_column("events per second")
    for record, limit in zip(keys.keys, limits, strict=True):
        name = f"{record.name} (known requests only)" if record.known_requests else record.name
        created = f"{record.created_at:%Y-%m-%d %H:%M}"
        optional = [_expiry(record, now)] if expires else []
        optional += [limit] if any(limits) else []
        table.add_row(record.id, record.tenant, ", ".join(record.scopes), name, created, *optional)
    return table


def key_as_json(record: KeyRecord, keys: Keys, now: datetime) -> dict[str, Any]:
    """Return what `afterword keys list --json` prints of a key."""
    tenant = keys.tenants.get(record.tenant, TenantRecord())
    return {
        "id": record.id,
        "tenant": record.tenant,
        "scopes": list(record.scopes),
        "name": record.name,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "is_valid": not has_expired(record, now.timestamp()),
        "known_requests": record.known_requests,
        "events_per_second": record.events_per_second,
        "tenant_events_per_second": tenant.events_per_second,
    }


def limits_of(record: KeyRecord, keys: Keys) -> str:
    """Return the limits of a key and of its tenant as text; empty if the file has none."""
    tenant = keys.tenants.get(record.tenant, TenantRecord()).events_per_second
    own = [] if record.events_per_second is None else [f"{record.events_per_second:g}"]
    return ", ".join([*own, *([] if tenant is None else [f"all of {record.tenant} {tenant:g}"])])


def _expiry(record: KeyRecord, now: datetime) -> str:
    if record.expires_at is None:
        return "never"
    if has_expired(record, now.timestamp()):
        return f"expired {record.expires_at:%Y-%m-%d}"
    return f"{record.expires_at:%Y-%m-%d %H:%M}"


def _table(record: KeyRecord) -> tomlkit.items.Table:
    table = tomlkit.table()
    table.update(
        id=record.id,
        name=record.name,
        tenant=record.tenant,
        scopes=[str(scope) for scope in record.scopes],
        sha256=record.sha256,
        created_at=record.created_at,
    )
    if record.known_requests:
        table["known_requests"] = True
    if record.events_per_second is not None:
        table["events_per_second"] = record.events_per_second
    if record.expires_at is not None:
        table["expires_at"] = record.expires_at
    table.add(tomlkit.nl())
    return table


@contextmanager
def _edited(path: Path) -> Iterator[tomlkit.TOMLDocument]:
    """Yield the document of the file, comments included, and replace the file with the edited one.

    One editor at a time; readers see the old file or the new one.  If the file cannot be written, it is
    unchanged, and a CommandError is raised.
    """
    try:
        with _locked(path):
            yield from _edit(path)
    except OSError as error:
        raise CommandError(
            f"{path} cannot be written ({error.strerror}): run this where it can be, or name another --file"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _edit(path: Path) -> Iterator[tomlkit.TOMLDocument]:
    if path.exists():
        read_keys(path)
        document = tomlkit.parse(path.read_text())
    else:
        document = tomlkit.document()
        for line in HEADER:
            document.add(tomlkit.comment(line))
        document.add(tomlkit.nl())
    yield document
    _replace(path, tomlkit.dumps(document))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
