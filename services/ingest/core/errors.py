"""Errors that ingest returns: a closed list of codes, each with its HTTP status.

The codes are part of the API: clients branch on them, and metrics use them as labels.
"""

from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from services.runtime.http.core import problems
from services.runtime.http.core.problems import ProblemMeaning, problem_body, problem_error


class Code(StrEnum):
    """Why a request, or one event of a batch, was not accepted."""

    MALFORMED_JSON = "malformed_json"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNKNOWN_REQUEST = "unknown_request"
    UNKNOWN_ITEM = "unknown_item"
    EXPIRED = "expired"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INVALID_FEEDBACK = "invalid_feedback"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"
    LOG_UNAVAILABLE = "log_unavailable"
    OVERLOADED = "overloaded"
    LOOKUP_UNAVAILABLE = "lookup_unavailable"


MEANINGS: dict[Code, ProblemMeaning] = {
    Code.MALFORMED_JSON: ProblemMeaning(400, "The body cannot be read as JSON"),
    Code.UNAUTHENTICATED: problems.UNAUTHENTICATED,
    Code.FORBIDDEN: problems.FORBIDDEN,
    Code.UNKNOWN_REQUEST: problems.UNKNOWN_REQUEST,
    Code.UNKNOWN_ITEM: ProblemMeaning(404, "The feedback is not known"),
    Code.EXPIRED: ProblemMeaning(410, "The link for feedback has expired"),
    Code.NOT_FOUND: problems.NOT_FOUND,
    Code.METHOD_NOT_ALLOWED: problems.METHOD_NOT_ALLOWED,
    Code.REQUEST_TIMEOUT: ProblemMeaning(408, "The body did not arrive in time"),
    Code.TOO_LARGE: ProblemMeaning(413, "The body or the event is too large"),
    Code.UNSUPPORTED_MEDIA_TYPE: ProblemMeaning(415, "The body's type or encoding is not supported"),
    Code.INVALID_FEEDBACK: ProblemMeaning(422, "The feedback is not valid"),
    Code.RATE_LIMITED: ProblemMeaning(429, "Too many events", 1),
    Code.INTERNAL_ERROR: problems.INTERNAL_ERROR,
    Code.LOG_UNAVAILABLE: ProblemMeaning(503, "Kafka did not acknowledge the event", 2),
    Code.OVERLOADED: ProblemMeaning(503, "Too many bytes are waiting for Kafka", 1),
    Code.LOOKUP_UNAVAILABLE: ProblemMeaning(503, "Stored feedback cannot be read", 2),
}


class BodyFault(NamedTuple):
    """An invalid value in a body and its path, such as `data.tags[3]`; an empty path is the whole body."""

    path: str
    detail: str


class Rejection(Exception):  # noqa: N818 (not a failure of the service)
    """Ends a request, or an item of a batch, that is not accepted."""

    def __init__(
        self,
        code: Code,
        detail: str,
        faults: tuple[BodyFault, ...] = (),
        *,
        retry_after_seconds: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.faults = faults
        self.retry_after_seconds = retry_after_seconds or MEANINGS[code].retry_after_seconds
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status."""
        return MEANINGS[self.code].status


def invalid(*faults: BodyFault) -> Rejection:
    """Return the rejection of a body that is JSON but not feedback."""
    return Rejection(Code.INVALID_FEEDBACK, _sentence(faults), faults)


def _sentence(faults: tuple[BodyFault, ...]) -> str:
    path, detail = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{path or 'the body'} {detail}{more}"


def item_error(rejection: Rejection) -> dict[str, Any]:
    """Return the `error` member of a rejected item of a batch."""
    return problem_error(rejection.code, rejection.detail, rejection.faults)


def rejection_body(rejection: Rejection) -> bytes:
    """Return the response body as `application/problem+json` (RFC 9457)."""
    return orjson.dumps(
        problem_body(rejection.code, MEANINGS[rejection.code], rejection.detail, rejection.faults)
    )
