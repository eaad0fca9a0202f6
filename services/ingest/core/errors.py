"""Every way in which ingest says no: one closed list of codes, each with its HTTP status.

The codes are the API: clients branch on them, metrics are labelled with them.  Pure.
"""

from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from services.runtime.http.core.problems import ProblemMeaning, problem_body, problem_error


class Code(StrEnum):
    """Why a request, or one event of a batch, was not accepted."""

    MALFORMED_JSON = "malformed_json"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNKNOWN_REQUEST = "unknown_request"
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


MEANINGS: dict[Code, ProblemMeaning] = {
    Code.MALFORMED_JSON: ProblemMeaning(400, "The body cannot be read as JSON"),
    Code.UNAUTHENTICATED: ProblemMeaning(401, "A valid API key is required"),
    Code.FORBIDDEN: ProblemMeaning(403, "This is not allowed here"),
    Code.UNKNOWN_REQUEST: ProblemMeaning(404, "The request is not known"),
    Code.NOT_FOUND: ProblemMeaning(404, "There is no such route"),
    Code.METHOD_NOT_ALLOWED: ProblemMeaning(405, "The route does not take this method"),
    Code.REQUEST_TIMEOUT: ProblemMeaning(408, "The body did not arrive in time"),
    Code.TOO_LARGE: ProblemMeaning(413, "The body or the event is too large"),
    Code.UNSUPPORTED_MEDIA_TYPE: ProblemMeaning(415, "The body's type or encoding is not supported"),
    Code.INVALID_FEEDBACK: ProblemMeaning(422, "The feedback is not valid"),
    Code.RATE_LIMITED: ProblemMeaning(429, "Too many events", 1),
    Code.INTERNAL_ERROR: ProblemMeaning(500, "Afterword failed; its log says why"),
    Code.LOG_UNAVAILABLE: ProblemMeaning(503, "Kafka did not acknowledge the event", 2),
    Code.OVERLOADED: ProblemMeaning(503, "Too much is waiting for Kafka", 1),
}


class Fault(NamedTuple):
    """One thing wrong with a body, and where: `data.tags[3]`; an empty path is the whole body."""

    path: str
    detail: str


class Rejection(Exception):  # noqa: N818 (nothing is wrong with us: the caller is answered)
    """The end of a request that is not accepted."""

    def __init__(
        self,
        code: Code,
        detail: str,
        faults: tuple[Fault, ...] = (),
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


def invalid(*faults: Fault) -> Rejection:
    """Return the rejection of a body that is JSON but not feedback."""
    return Rejection(Code.INVALID_FEEDBACK, _sentence(faults), faults)


def _sentence(faults: tuple[Fault, ...]) -> str:
    path, detail = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{path or 'the body'} {detail}{more}"


def error_of(rejection: Rejection) -> dict[str, Any]:
    """Return what an item of a batch says about its rejection."""
    return problem_error(rejection.code, rejection.detail, rejection.faults)


def problem_of(rejection: Rejection) -> bytes:
    """Return the body of an answer as RFC 9457 has it: `application/problem+json`."""
    return orjson.dumps(
        problem_body(rejection.code, MEANINGS[rejection.code], rejection.detail, rejection.faults)
    )
