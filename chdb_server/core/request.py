"""Turns an HTTP request, by its parts, into a checked query."""

import email.parser
import email.policy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from chdb_server.core import blocks, encodings, formats, statements
from chdb_server.core.access import Account, authenticate, refuse_foreign
from chdb_server.core.errors import ClickHouseCode, QueryRefusedError
from chdb_server.core.statements import SqlStatement


def is_form(content_type: str) -> bool:
    """Return whether a body of this content type is a form."""
    return content_type.lower().startswith("multipart/form-data")


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a multipart form, which clickhouse-connect sends if parameters exceed a URL.

    QueryRefusedError for files: external tables are not supported.
    """
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not form.is_multipart():
        raise QueryRefusedError(ClickHouseCode.INCORRECT_DATA, "The multipart form is damaged.")
    found = {}
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None:
            raise QueryRefusedError(ClickHouseCode.NOT_IMPLEMENTED, "External tables are not supported here.")
        payload = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(payload, bytes):
            raise QueryRefusedError(
                ClickHouseCode.INCORRECT_DATA, "The multipart form has a part without a name."
            )
        found[name] = payload.decode(errors="surrogateescape")
    return found


# Parameters of the interface; any other is a query setting, which the engine checks.
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
"""Prefixes of settings whose effect a check of the statement cannot see."""
_MAX_SESSION_SECONDS = 3600


@dataclass(frozen=True)
class SessionRequest:
    """The session in which a request wants to run; users do not share sessions."""

    user: str
    name: str
    timeout_seconds: int
    must_exist: bool
    close: bool

    @property
    def key(self) -> tuple[str, str]:
        """The identity of the session."""
        return self.user, self.name


@dataclass(frozen=True)
class Head:
    """A request without its body: enough to refuse it before the body is read."""

    method: str
    headers: Mapping[str, str]
    params: Mapping[str, str]
    account: Account


@dataclass(frozen=True)
class QueryRequest:
    """A request that may run.

    settings: as in the URL; readonly: ClickHouse's levels, 0 to 2; whole: send the result only when it is
    complete; encoding: of the reply; in_blocks: reply in ClickHouse's compressed blocks; binds: server-side
    parameters, without their prefix.
    """

    statement: SqlStatement
    format: str
    query_id: str
    account: Account
    readonly: int
    settings: Mapping[str, str]
    binds: Mapping[str, str]
    database: str
    session: SessionRequest | None
    whole: bool
    encoding: str | None
    in_blocks: bool


def read_head(
    method: str,
    headers: list[tuple[bytes, bytes]],
    query_string: bytes,
    accounts: Mapping[str, Account],
) -> Head:
    """Return the checked head of a request.  QueryRefusedError if the sender may not query."""
    lower = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    refuse_foreign(lower)
    # Percent escapes may encode any bytes; surrogates carry those that are not UTF-8 to the engine.
    text = query_string.decode("latin-1")
    params = dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))
    return Head(method, lower, params, authenticate(accounts, lower, params))


def is_compressed(head: Head) -> bool:
    """Return whether the body has to be decompressed, which may take long."""
    return "content-encoding" in head.headers or _flag(head.params, "decompress")


def decode_body(head: Head, body: bytes, limit: int) -> bytes:
    """Return the decompressed body.  QueryRefusedError if it is damaged or exceeds `limit` bytes."""
    decoded = encodings.decode(head.headers.get("content-encoding", ""), body, limit)
    return blocks.decode(decoded, limit) if _flag(head.params, "decompress") else decoded


def read_request(head: Head, body: bytes, new_query_id: str) -> QueryRequest:
    """Return the request with this decoded body.  QueryRefusedError if it may not run."""
    params = dict(head.params)
    content_type = head.headers.get("content-type", "")
    if is_form(content_type):
        params |= form_fields(content_type, body)
        body = b""
    statement = statements.read(params.get("query", "").encode(errors="surrogateescape"), body)
    readonly = _readonly(head, params)
    if not statement.verb:
        raise QueryRefusedError(ClickHouseCode.SYNTAX_ERROR, "Syntax error: Empty query.")
    binds = {name[6:]: value for name, value in params.items() if name.startswith("param_")}
    settings = _settings(params)
    _refuse_unsafe(head.account, statement, binds, readonly)
    _refuse_settings(head.account, settings)
    in_blocks = _flag(params, "compress")
    compresses = _flag(params, "enable_http_compression") and not in_blocks
    return QueryRequest(
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
    """Return the readonly level: GET only reads, as on a server; parameters cannot exceed the account."""
    requested = _number(params, "readonly", 0, 0, 2)
    if not head.account.may_write:
        return 1
    return requested or (0 if head.method == "POST" else 2)


def _refuse_unsafe(
    account: Account, statement: SqlStatement, binds: Mapping[str, str], readonly: int
) -> None:
    """Refuse what the engine's own readonly mode lets through: KILL, SYSTEM, and reading files."""
    unsafe = statement.verb not in _READ_ONLY_VERBS
    opens = statement.opens_files or (
        statement.takes_names and any(value.upper() in statements.OPENING for value in binds.values())
    )
    if readonly and (unsafe or (opens and not account.may_write)):
        raise QueryRefusedError(
            ClickHouseCode.READONLY, f"{account.name}: Cannot execute query in readonly mode."
        )


def _refuse_settings(account: Account, settings: Mapping[str, str]) -> None:
    """Refuse a reader's settings that contain a query or the path of a file."""
    for name in settings:
        if not account.may_write and name.startswith(_HIDING):
            text = f"{account.name}: Cannot modify {name!r} setting in readonly mode."
            raise QueryRefusedError(ClickHouseCode.READONLY, text)


def _format(statement: SqlStatement, headers: Mapping[str, str], params: Mapping[str, str]) -> str:
    name = statement.format or headers.get("x-clickhouse-format") or params.get("default_format")
    if name and not re.fullmatch(r"\w+", name, re.ASCII):
        raise QueryRefusedError(ClickHouseCode.UNKNOWN_FORMAT, f"Unknown format {name!r}.")
    return name or formats.DEFAULT


def _query_id(headers: Mapping[str, str], params: Mapping[str, str], new_query_id: str) -> str:
    query_id = params.get("query_id") or headers.get("x-clickhouse-query-id") or new_query_id
    # It is sent in a header, where a line break would start another one.
    if not re.fullmatch(r"[\x20-\x7e]{1,256}", query_id):
        raise QueryRefusedError(
            ClickHouseCode.BAD_ARGUMENTS, "query_id must be 1 to 256 printable ASCII characters."
        )
    return query_id


def _settings(params: Mapping[str, str]) -> dict[str, str]:
    settings = {
        name: value
        for name, value in params.items()
        if name not in _TRANSPORT and not name.startswith("param_")
    }
    for name in settings:
        # Names become SQL: `max_threads = 1, readonly` must not pass.
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise QueryRefusedError(ClickHouseCode.UNKNOWN_SETTING, f"Unknown setting {name!r}.")
    return settings


def _session(account: Account, params: Mapping[str, str], readonly: int) -> SessionRequest | None:
    """Return the session; None for read-only requests, since a connection cannot leave readonly again."""
    name = params.get("session_id", "")
    if not name or readonly:
        return None
    return SessionRequest(
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
        raise QueryRefusedError(
            ClickHouseCode.BAD_ARGUMENTS, f"{name} must be a number from {least} to {most}, not {text!r}."
        )
    return int(text)
