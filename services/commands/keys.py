"""`afterword keys`: create, list and revoke API keys, in a file that holds none of them."""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import tomlkit
import typer
from rich.console import Console
from rich.table import Table

from schemas.identity import DEFAULT_TENANT, is_tenant
from services.commands.exits import UsageError
from services.runtime.keys import KeyFileError, KeyRecord, Scope, digest, parse
from services.runtime.settings import HomeSettings, load

KEY_PREFIX = "aw_"
HEADER = (
    "API keys of Afterword. Only the SHA-256 of each key is here; `afterword keys` writes this file,",
    "and running services read it again within a second.",
)

app = typer.Typer(
    no_args_is_help=True,
    help="Create, list and revoke API keys.\n\n"
    "The key file is AFTERWORD_KEYS_FILE, or `keys.toml` in AFTERWORD_HOME.  As long as it does not exist, "
    "services serve this machine only, and ask for no key.",
)

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file", help="The key file; by default the one that the environment names.", dir_okay=False
    ),
]


class Created(NamedTuple):
    """A new key, which nobody can read again, and its record."""

    key: str
    record: KeyRecord


@app.command()
def create(
    tenant: Annotated[
        str, typer.Option(help="Whose data the key writes and reads: small letters, digits, dashes.")
    ] = DEFAULT_TENANT,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What the key allows; may be given several times. `write` if none is given."),
    ] = None,
    name: Annotated[str, typer.Option(help="What the key is for; shown by `list`.")] = "",
    *,
    known_requests: Annotated[
        bool,
        typer.Option(
            "--known-requests",
            help="Refuse feedback on requests whose facts have never arrived (404), when that is certain.",
        ),
    ] = False,
    file: FileOption = None,
) -> None:
    """Create a key and print it, once.

    The key is the only line on standard output:

        KEY=$(afterword keys create --name website)

    For pages in browsers, which cannot keep a key secret, create one that can only `write` and put it in the
    path: /k/<key>/feedback/<request id>.
    """
    path = _path(file)
    created = create_key(
        path, tenant=tenant, scopes=scope or [Scope.WRITE], name=name, known_requests=known_requests
    )
    record = created.record
    typer.echo(created.key)
    typer.echo(
        f"Key {record.id} for tenant {record.tenant} ({', '.join(record.scopes)}) added to {path}. "
        "It is shown this once.",
        err=True,
    )


@app.command("list")
def list_(file: FileOption = None) -> None:
    """List the keys: everything but the keys themselves."""
    table = Table("id", "tenant", "scopes", "name", "created", box=None, header_style="bold")
    for record in read_keys(_path(file)):
        notes = f"{record.name} (known requests only)" if record.known_requests else record.name
        created = f"{record.created_at:%Y-%m-%d %H:%M}"
        table.add_row(record.id, record.tenant, ", ".join(record.scopes), notes, created)
    Console().print(table)


@app.command()
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of keys, as `list` shows them.")],
    file: FileOption = None,
) -> None:
    """Revoke keys.  Running services refuse them within a second."""
    path = _path(file)
    revoke_keys(path, ids)
    typer.echo(f"Revoked {', '.join(ids)}.")


def create_key(
    path: Path, *, tenant: str, scopes: Sequence[str], name: str = "", known_requests: bool = False
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
    )
    with _edited(path) as document:
        document.setdefault("keys", tomlkit.aot()).append(_table(record))
    return Created(key, record)


def revoke_keys(path: Path, ids: Sequence[str]) -> None:
    """Remove keys from a file; nothing is removed if one of them is not there."""
    read_keys(path)
    with _edited(path) as document:
        keys = document.get("keys", [])
        missing = sorted({*ids} - {key["id"] for key in keys})
        if missing:
            raise UsageError(f"{path} has no key {', '.join(missing)}; `afterword keys list` shows all")
        for index in reversed(range(len(keys))):
            if keys[index]["id"] in ids:
                del keys[index]


def read_keys(path: Path) -> tuple[KeyRecord, ...]:
    """Return the keys of a file."""
    try:
        return parse(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"there is no key file at {path}; `afterword keys create` makes one") from None
    except KeyFileError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None


def _path(file: Path | None) -> Path:
    return file or load(HomeSettings).keys_file


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
    table.add(tomlkit.nl())
    return table


@contextmanager
def _edited(path: Path) -> Iterator[tomlkit.TOMLDocument]:
    """Yield the file's document, comments and all, and replace the file with what became of it.

    One editor at a time; readers see the old file or the new one, whatever happens in between.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
