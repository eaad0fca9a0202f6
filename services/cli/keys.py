"""The command line of `afterword keys`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from schemas.identity import DEFAULT_TENANT
from services.cli.options import epilog
from services.operations.core.times import ahead
from services.operations.exits import UsageError
from services.operations.keys import (
    create_key,
    key_as_json,
    key_table,
    limit_tenant,
    read_file,
    revoke_keys,
)
from services.runtime.audit_log import audited
from services.runtime.http.core.key_records import Scope
from services.runtime.settings import HomeSettings, load

EXAMPLES = (
    ("afterword keys create --tenant acme --name website", "a key that may only write"),
    ("afterword keys create --tenant acme --scope read --expires 90d", "one that reads, for three months"),
    ("afterword keys create --name batch --events-per-second 500", "one that sends no more than that"),
    ("afterword keys revoke k-1a2b3c4d", "services refuse it from then on"),
    ("afterword keys limit acme --events-per-second 200", "all keys of the tenant together"),
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Create, list, limit and revoke API keys.\n\n"
    "The key file is AFTERWORD_KEYS_FILE, or `keys.toml` in AFTERWORD_HOME.  Until it exists, services "
    "serve this machine only, and need no key.",
)

FileOption = Annotated[
    Path | None,
    typer.Option("--file", help="The key file; by default the one of the environment.", dir_okay=False),
]


RateOption = Annotated[
    float | None,
    typer.Option(
        "--events-per-second",
        metavar="N",
        min=0.001,
        help="Rate limit; bursts may use ten seconds of it at once.",
    ),
]


@app.command(epilog=epilog(EXAMPLES[:3]))
def create(
    tenant: Annotated[
        str,
        typer.Option(help="Tenant of the key: lower-case letters, digits, dashes."),
    ] = DEFAULT_TENANT,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What the key allows; repeatable.  [default: write]", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="What the key is for; shown by `list`.")] = "",
    *,
    known_requests: Annotated[
        bool,
        typer.Option(
            "--known-requests",
            help="Refuse feedback on requests whose data never arrived (404), when that is certain.",
        ),
    ] = False,
    events_per_second: RateOption = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it expires: 90d from now, or 2027-01-01."),
    ] = None,
    file: FileOption = None,
) -> None:
    """Create a key and print it, once.

    The key is the only line on standard output:

        KEY=$(afterword keys create --name website)

    For pages in browsers, which cannot keep a key secret, create one that can only `write` and put it in the
    path: /k/<key>/feedback/<request id>.

    The limit of a key applies within the limit of its tenant: see `afterword keys limit`.
    """
    path = _path(file)
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
            expires_at=None if expires is None else _until(expires, _now()),
        )
        done["key"] = created.record.id
    record = created.record
    typer.echo(created.key)
    until = f" until {record.expires_at:%Y-%m-%d %H:%M} UTC" if record.expires_at else ""
    typer.echo(
        f"Key {record.id} for tenant {record.tenant} ({', '.join(record.scopes)}) added to {path}{until}. "
        "It is shown only once.",
        err=True,
    )


@app.command("list")
def list_(
    file: FileOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the keys, without the keys themselves."""
    keys, now = read_file(_path(file)), _now()
    if as_json:
        for record in keys.keys:
            typer.echo(orjson.dumps(key_as_json(record, keys, now)).decode())
    else:
        Console().print(key_table(keys, now))


@app.command(epilog=epilog(EXAMPLES[3:4]))
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of keys, as `list` shows them.")],
    file: FileOption = None,
) -> None:
    """Revoke keys.  Running services refuse them within a second.

    Browser sessions, live pages and exports that use such a key end within
    seconds.
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
        bool, typer.Option("--default", help="Remove the limit: INGEST_EVENTS_PER_SECOND applies again.")
    ] = False,
    file: FileOption = None,
) -> None:
    """Limit the rate of all keys of a tenant together.

    Without it the setting INGEST_EVENTS_PER_SECOND applies.  Running services
    apply a change within a second.
    """
    if (events_per_second is None) != default:
        raise UsageError("give --events-per-second or --default")
    path = _path(file)
    with audited("keys limit", tenant=tenant, events_per_second=events_per_second, file=str(path)):
        limit_tenant(path, tenant, events_per_second)
    what = (
        "as much as INGEST_EVENTS_PER_SECOND allows"
        if default
        else f"{events_per_second:g} events per second"
    )
    typer.echo(f"Tenant {tenant} may send {what}.")


def _until(text: str, now: datetime) -> datetime:
    try:
        until = ahead(text, now)
    except ValueError as error:
        raise UsageError(f"--expires: {error}") from None
    if until <= now:
        raise UsageError(f"--expires: {text} is in the past")
    return until.replace(microsecond=0)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 (the rim of a command)


def _path(file: Path | None) -> Path:
    return file or load(HomeSettings).keys_file
