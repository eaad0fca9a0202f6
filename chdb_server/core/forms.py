"""multipart/form-data: clickhouse-connect turns to it when bound parameters outgrow an address."""

import email.parser
import email.policy

from chdb_server.core.errors import Code, RefusedError


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form."""
    return content_type.lower().startswith("multipart/form-data")


def fields(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a form.  RefusedError for files: external tables are not supported."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not form.is_multipart():
        raise RefusedError(Code.INCORRECT_DATA, "The multipart form is damaged.")
    found = {}
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None:
            raise RefusedError(Code.NOT_IMPLEMENTED, "External tables are not supported here.")
        payload = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(payload, bytes):
            raise RefusedError(Code.INCORRECT_DATA, "The multipart form has a part without a name.")
        found[name] = payload.decode(errors="surrogateescape")
    return found
