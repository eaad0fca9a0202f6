"""Request ids in paths: any text, percent-encoded, `/` as `%2F`.  Pure."""

from urllib.parse import unquote_to_bytes

from schemas.identity import is_request_id
from services.query.core.problems import Fault, invalid


def request_id_of(segment: str) -> str:
    """Return the id that a segment of a raw path is; raise Problem for what can be no id.

    Paths arrive as bytes, which Latin-1 makes characters: clients may send UTF-8 without encoding it.
    """
    try:
        request_id = unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeError:
        raise invalid(Fault("request_id", "it is not UTF-8 when it is percent-decoded")) from None
    if not is_request_id(request_id):
        raise invalid(Fault("request_id", "1 to 256 characters, none of them a control character"))
    return request_id
