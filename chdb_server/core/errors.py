"""Errors in ClickHouse's format: a code, a text that names it, and the HTTP status of a server."""

import re
from dataclasses import dataclass
from enum import IntEnum


class ClickHouseCode(IntEnum):
    """ClickHouse's error codes that this package raises itself; all others come from the engine."""

    UNSUPPORTED_METHOD = 1
    BAD_ARGUMENTS = 36
    NOT_IMPLEMENTED = 48
    SYNTAX_ERROR = 62
    UNKNOWN_FORMAT = 73
    UNKNOWN_SETTING = 115
    INCORRECT_DATA = 117
    READONLY = 164
    REQUIRED_PASSWORD = 194
    TOO_MANY_SIMULTANEOUS_QUERIES = 202
    SOCKET_TIMEOUT = 209
    QUERY_IS_TOO_LARGE = 229
    ABORTED = 236
    MEMORY_LIMIT_EXCEEDED = 241
    SESSION_NOT_FOUND = 372
    SESSION_IS_LOCKED = 373
    ACCESS_DENIED = 497
    AUTHENTICATION_FAILED = 516
    UNKNOWN_EXCEPTION = 1002


class QueryRefusedError(Exception):
    """Raised when this package refuses a request; the text has the format of the engine's errors."""

    def __init__(self, code: ClickHouseCode, text: str) -> None:
        super().__init__(f"Code: {code.value}. DB::Exception: {text} ({code.name})")


# From src/Server/HTTP/exceptionCodeToHTTPStatus.cpp of ClickHouse; every other code is 500.
_STATUS = {
    400: (
        6,
        8,
        15,
        25,
        26,
        27,
        36,
        37,
        38,
        41,
        44,
        53,
        62,
        72,
        117,
        123,
        167,
        168,
        223,
        321,
        376,
        427,
        441,
        675,
        676,
    ),
    401: (194,),
    403: (192, 193, 497, 512, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    415: (779,),
    501: (48,),
    503: (76, 209, 439),
}
_STATUS_OF = {code: status for status, codes in _STATUS.items() for code in codes}


@dataclass(frozen=True)
class Failure:
    """An error as a reply contains it."""

    code: int
    text: str

    @property
    def status(self) -> int:
        """The HTTP status for the code."""
        return _STATUS_OF.get(self.code, 500)

    @property
    def body(self) -> bytes:
        """The text as a reply's body."""
        return self.text.encode(errors="backslashreplace") + b"\n"


def failure_of(error: BaseException) -> Failure:
    """Return the code and the text of any error.

    The engine raises RuntimeError; if its message quotes bytes that are not UTF-8, chdb cannot decode it and
    raises UnicodeDecodeError, which contains the message.
    """
    raw = error.object if isinstance(error, UnicodeDecodeError) else None
    text = str(error) if raw is None else bytes(raw).decode(errors="backslashreplace")
    if code_match := re.match(r"Code: (\d+)", text):
        return Failure(int(code_match[1]), text)
    code = ClickHouseCode.UNKNOWN_EXCEPTION
    return Failure(code, f"Code: {code.value}. DB::Exception: {type(error).__name__}: {text} ({code.name})")
