"""What one HTTP request asks for, from its parts; values in, values out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from chdb_server.core import blocks, encodings, formats, forms, statements
from chdb_server.core.access import Account, authenticate, refuse_foreign
from chdb_server.core.errors import Code, RefusedError
from chdb_server.core.statements import Statement

# Parameters that steer the transport; any other is a query setting, which the engine judges.
_TRANSPORT = frozenset(
    {
        *(
            "query",
            "query_id",
            "database",
            "default_format",
            "wait_end_of_query",
            "buffer_size",
            "stacktrace",
        ),
        *("user", "password", "quota_key", "role", "readonly", "compress", "decompress"),
        *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"),
    }
)
_READ_ONLY_VERBS = statements.READING | {"SET", "USE"}
_HIDING = ("additional_", "dialect", "format_schema", "format_template_", "parallel_replicas_custom_key")
"""How the names of settings begin that no look at the statement sees through."""
_MAX_SESSION_SECONDS = 3600


@dataclass(frozen=True)
class SessionAsk:
    """A session that a request wants to run in; sessions of different users never meet."""

    user: str
    name: str
    timeout_seconds: int
    must_exist: bool
    close: bool

    @property
    def key(self) -> tuple[str, str]:
        """What tells sessions apart."""
        return self.user, self.name


@dataclass(frozen=True)
class Head:
    """A request before its body: enough to refuse it without reading on."""

    method: str
    headers: Mapping[str, str]
    params: Mapping[str, str]
    account: Account


@dataclass(frozen=True)
class Request:
    """A request that may run.

    settings: as given in the address; readonly: ClickHouse's levels, 0 to 2; whole: answer only when
    everything is known; encoding: of the answer; in_blocks: answer in ClickHouse's compressed blocks; binds:
    server-side parameters, without their prefix.
    """

    statement: Statement
    format: str
    query_id: str
    account: Account
    readonly: int
    settings: Mapping[str, str]
    binds: Mapping[str, str]
    database: str
    session: SessionAsk | None
    whole: bool
    encoding: str | None
    in_blocks: bool


def read_head(
    method: str,
    headers: list[tuple[bytes, bytes]],
    query_string: bytes,
    accounts: Mapping[str, Account],
) -> Head:
    """Return the checked head of a request.  RefusedError when it may not go on."""
    lower = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    refuse_foreign(lower)
    # Percent escapes may stand for any bytes; surrogates carry those that are not UTF-8 to the engine.
    text = query_string.decode("latin-1")
    params = dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))
    return Head(method, lower, params, authenticate(accounts, lower, params))


def is_compressed(head: Head) -> bool:
    """Whether a body has to be decompressed, which may take a while."""
    return "content-encoding" in head.headers or _flag(head.params, "decompress")


def decode_body(head: Head, body: bytes, limit: int) -> bytes:
    """Return a body as it was before it was compressed.  RefusedError when it grows past `limit` bytes."""
    decoded = encodings.decode(head.headers.get("content-encoding", ""), body, limit)
    return blocks.decode(decoded, limit) if _flag(head.params, "decompress") else decoded


def read_request(head: Head, body: bytes, new_query_id: str) -> Request:
    """Return what a request with this decoded body asks for.  RefusedError when it may not run."""
    params = dict(head.params)
    content_type = head.headers.get("content-type", "")
    if forms.is_form(content_type):
        params |= forms.fields(content_type, body)
        body = b""
    statement = statements.read(params.get("query", "").encode(errors="surrogateescape"), body)
    readonly = _readonly(head, params)
    if not statement.verb:
        raise RefusedError(Code.SYNTAX_ERROR, "Syntax error: Empty query.")
    binds = {name[6:]: value for name, value in params.items() if name.startswith("param_")}
    settings = _settings(params)
    _refuse_unsafe(head.account, statement, binds, readonly)
    _refuse_settings(head.account, settings)
    in_blocks = _flag(params, "compress")
    compresses = _flag(params, "enable_http_compression") and not in_blocks
    return Request(
        statement=statement,
        format=_format(statement, head.headers, params),
        query_id=_query_id(head.headers, params, new_query_id),
        account=head.account,
        readonly=readonly,
        settings=settings,
        binds=binds,
        database=params.get("database") or head.headers.get("x-clickhouse-database", ""),
        session=_session(head.account, params, readonly),
        whole=_flag(params, "wait_end_of_query"),
        encoding=encodings.choose(head.headers.get("accept-encoding", "")) if compresses else None,
        in_blocks=in_blocks,
    )


def _readonly(head: Head, params: Mapping[str, str]) -> int:
    """GET changes nothing, as on a server; what an account may not do, no parameter allows."""
    asked = _number(params, "readonly", 0, 0, 2)
    if not head.account.may_write:
        return 1
    return asked or (0 if head.method == "POST" else 2)


def _refuse_unsafe(account: Account, statement: Statement, binds: Mapping[str, str], readonly: int) -> None:
    """Close the holes that the engine's own readonly mode leaves: KILL, SYSTEM, and reading files."""
    unsafe = statement.verb not in _READ_ONLY_VERBS
    opens = statement.opens_files or (
        statement.takes_names and any(value.upper() in statements.OPENING for value in binds.values())
    )
    if readonly and (unsafe or (opens and not account.may_write)):
        raise RefusedError(Code.READONLY, f"{account.name}: Cannot execute query in readonly mode.")


def _refuse_settings(account: Account, settings: Mapping[str, str]) -> None:
    """Keep a reader from settings that hold a query of their own, or the path of a file."""
    for name in settings:
        if not account.may_write and name.startswith(_HIDING):
            text = f"{account.name}: Cannot modify {name!r} setting in readonly mode."
            raise RefusedError(Code.READONLY, text)


def _format(statement: Statement, headers: Mapping[str, str], params: Mapping[str, str]) -> str:
    name = statement.format or headers.get("x-clickhouse-format") or params.get("default_format")
    if name and not re.fullmatch(r"\w+", name, re.ASCII):
        raise RefusedError(Code.UNKNOWN_FORMAT, f"Unknown format {name!r}.")
    return name or formats.DEFAULT


def _query_id(headers: Mapping[str, str], params: Mapping[str, str], new_query_id: str) -> str:
    query_id = params.get("query_id") or headers.get("x-clickhouse-query-id") or new_query_id
    # It goes back in a header, where a line break would begin another one.
    if not re.fullmatch(r"[\x20-\x7e]{1,256}", query_id):
        raise RefusedError(Code.BAD_ARGUMENTS, "query_id must be 1 to 256 printable ASCII characters.")
    return query_id


def _settings(params: Mapping[str, str]) -> dict[str, str]:
    settings = {
        name: value
        for name, value in params.items()
        if name not in _TRANSPORT and not name.startswith("param_")
    }
    for name in settings:
        # Names become SQL: `max_threads = 1, readonly` must not.
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise RefusedError(Code.UNKNOWN_SETTING, f"Unknown setting {name!r}.")
    return settings


def _session(account: Account, params: Mapping[str, str], readonly: int) -> SessionAsk | None:
    """Read-only requests never join a session: the engine cannot lift readonly from a connection again."""
    name = params.get("session_id", "")
    if not name or readonly:
        return None
    return SessionAsk(
        user=account.name,
        name=name,
        timeout_seconds=_number(params, "session_timeout", 60, 1, _MAX_SESSION_SECONDS),
        must_exist=_flag(params, "session_check"),
        close=_flag(params, "close_session"),
    )


def _flag(params: Mapping[str, str], name: str) -> bool:
    return params.get(name, "").lower() in ("1", "true")


def _number(params: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = params.get(name, "") or str(default)
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most:
        raise RefusedError(
            Code.BAD_ARGUMENTS, f"{name} must be a number from {least} to {most}, not {text!r}."
        )
    return int(text)
