"""`afterword keys`: create, list, limit and revoke API keys, in a file that holds none of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from schemas.identity import DEFAULT_TENANT
from services.cli.examples import epilog
from services.operations.core.times import ahead
from services.operations.exits import UsageError
from services.operations.key_file import create_key, limit_tenant, read_file, read_keys, revoke_keys
from services.runtime.audit_log import audited
from services.runtime.http.core.key_records import KeyRecord, Keys, Scope, TenantRecord, has_expired
from services.runtime.settings import HomeSettings, load

__all__ = ["app", "create_key", "limit_tenant", "read_file", "read_keys", "revoke_keys"]

EXAMPLES = (
    ("afterword keys create --tenant acme --name website", "a key that may only write"),
    ("afterword keys create --tenant acme --scope read --expires 90d", "one that reads, for three months"),
    ("afterword keys create --name batch --events-per-second 500", "one that sends no more than that"),
    ("afterword keys revoke k-1a2b3c4d", "nobody gets in with it any more"),
    ("afterword keys limit acme --events-per-second 200", "all keys of the tenant together"),
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Create, list, limit and revoke API keys.\n\n"
    "The key file is AFTERWORD_KEYS_FILE, or `keys.toml` in AFTERWORD_HOME.  As long as it does not exist, "
    "services serve this machine only, and ask for no key.",
)

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file", help="The key file; by default the one that the environment names.", dir_okay=False
    ),
]


RateOption = Annotated[
    float | None,
    typer.Option(
        "--events-per-second",
        metavar="N",
        min=0.001,
        help="What may be sent, in bursts of ten seconds' worth.",
    ),
]


@app.command(epilog=epilog(EXAMPLES[:3]))
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
    events_per_second: RateOption = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Until when it is valid: 90d from now, or 2027-01-01."),
    ] = None,
    file: FileOption = None,
) -> None:
    """Create a key and print it, once.

    The key is the only line on standard output:

        KEY=$(afterword keys create --name website)

    For pages in browsers, which cannot keep a key secret, create one that can only `write` and put it in the
    path: /k/<key>/feedback/<request id>.

    A limit of the key's own holds within what its tenant may send: see `afterword keys limit`.
    """
    path, now = _path(file), _now()
    facts: dict[str, Any] = {
        "tenant": tenant,
        "scopes": scope or [Scope.WRITE],
        "name": name,
        "file": str(path),
    }
    with audited("keys create", **facts) as done:
        created = create_key(
            path,
            tenant=tenant,
            scopes=scope or [Scope.WRITE],
            name=name,
            known_requests=known_requests,
            events_per_second=events_per_second,
            expires_at=None if expires is None else _until(expires, now),
        )
        done["key"] = created.record.id
    record = created.record
    typer.echo(created.key)
    until = f" until {record.expires_at:%Y-%m-%d %H:%M} UTC" if record.expires_at else ""
    typer.echo(
        f"Key {record.id} for tenant {record.tenant} ({', '.join(record.scopes)}) added to {path}{until}. "
        "It is shown this once.",
        err=True,
    )


@app.command("list")
def list_(
    file: FileOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the keys: everything but the keys themselves."""
    read, now = read_file(_path(file)), _now()
    if as_json:
        for record in read.keys:
            typer.echo(orjson.dumps(_shown(record, read, now)).decode())
        return
    table = Table("id", "tenant", "scopes", "name", "created", box=None, header_style="bold")
    if any(record.expires_at for record in read.keys):
        table.add_column("expires")
    limits = [limits_of(record, read) for record in read.keys]
    if any(limits):
        table.add_column("events per second")
    for record, limit in zip(read.keys, limits, strict=True):
        notes = f"{record.name} (known requests only)" if record.known_requests else record.name
        created = f"{record.created_at:%Y-%m-%d %H:%M}"
        more = [_expiry(record, now)] if any(one.expires_at for one in read.keys) else []
        more += [limit] if any(limits) else []
        table.add_row(record.id, record.tenant, ", ".join(record.scopes), notes, created, *more)
    Console().print(table)


@app.command(epilog=epilog(EXAMPLES[3:4]))
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of keys, as `list` shows them.")],
    file: FileOption = None,
) -> None:
    """Revoke keys.  Running services refuse them within a second.

    Sessions in browsers, live pages and exports that began with such a key end
    within seconds, too.
    """
    path = _path(file)
    with audited("keys revoke", keys=ids, file=str(path)):
        revoke_keys(path, ids)
    typer.echo(f"Revoked {', '.join(ids)}.")


@app.command(epilog=epilog(EXAMPLES[4:]))
def limit(
    tenant: Annotated[str, typer.Argument(help="The tenant whose keys are limited together.")],
    events_per_second: RateOption = None,
    *,
    default: Annotated[
        bool, typer.Option("--default", help="Let INGEST_EVENTS_PER_SECOND count for it again.")
    ] = False,
    file: FileOption = None,
) -> None:
    """Limit what all keys of a tenant may send together.

    Without it the setting INGEST_EVENTS_PER_SECOND counts.  Running services
    know within a second.
    """
    if (events_per_second is None) != default:
        raise UsageError("give --events-per-second or --default")
    path = _path(file)
    with audited("keys limit", tenant=tenant, events_per_second=events_per_second, file=str(path)):
        limit_tenant(path, tenant, events_per_second)
    what = "as INGEST_EVENTS_PER_SECOND says" if default else f"{events_per_second:g} events per second"
    typer.echo(f"Tenant {tenant} may send {what}.")


def limits_of(record: KeyRecord, file: Keys) -> str:
    """Return what a key may send, in words; empty where only the setting of the service counts."""
    tenant = file.tenants.get(record.tenant, TenantRecord()).events_per_second
    own = [] if record.events_per_second is None else [f"{record.events_per_second:g}"]
    return ", ".join([*own, *([] if tenant is None else [f"all of {record.tenant} {tenant:g}"])])


def _shown(record: KeyRecord, file: Keys, now: datetime) -> dict[str, Any]:
    tenant = file.tenants.get(record.tenant, TenantRecord())
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


def _expiry(record: KeyRecord, now: datetime) -> str:
    if record.expires_at is None:
        return "never"
    if has_expired(record, now.timestamp()):
        return f"expired {record.expires_at:%Y-%m-%d}"
    return f"{record.expires_at:%Y-%m-%d %H:%M}"


def _until(text: str, now: datetime) -> datetime:
    try:
        until = ahead(text, now)
    except ValueError as error:
        raise UsageError(f"--expires: {error}") from None
    if until <= now:
        raise UsageError(f"--expires: {text} is over already")
    return until.replace(microsecond=0)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 (the rim of a command)


def _path(file: Path | None) -> Path:
    return file or load(HomeSettings).keys_file
