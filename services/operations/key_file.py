"""The key file, changed by one editor at a time, comments and all; readers see the old or the new one."""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import tomlkit

from schemas.identity import is_tenant
from services.operations.exits import CommandError, UsageError
from services.runtime.http.core.key_records import KeyFileError, KeyRecord, Keys, Scope, digest, parse_file

KEY_PREFIX = "aw_"
HEADER = (
    "API keys of Afterword. Only the SHA-256 of each key is here; `afterword keys` writes this file,",
    "and running services read it again within a second.",
)


class Created(NamedTuple):
    """A new key, which nobody can read again, and its record."""

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
) -> Created:
    """Add a new key to a file, which is made if it does not exist."""
    if not is_tenant(tenant):
        raise UsageError(f"{tenant!r} is no tenant: small letters, digits and dashes, at most 63")
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
    return Created(key, record)


def revoke_keys(path: Path, ids: Sequence[str]) -> None:
    """Remove keys from a file; nothing is removed if one of them is not there.

    Without the last one the file has `keys = []`: none are left on purpose, so services let nobody in.
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
    """Say in a file what a tenant may send; None: what the setting of the service says."""
    if not is_tenant(tenant):
        raise UsageError(f"{tenant!r} is no tenant: small letters, digits and dashes, at most 63")
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
    """Return what a file says."""
    try:
        return parse_file(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"there is no key file at {path}; `afterword keys create` makes one") from None
    except KeyFileError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None


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
    """Yield the file's document, comments and all, and replace the file with what became of it.

    One editor at a time; readers see the old file or the new one, whatever happens in between.  A file that
    cannot be written is a CommandError, and stays as it was.
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
