"""Every way in which the query service says no: one closed list of codes, each with its status.  Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from services.runtime.http.core.problems import ProblemMeaning, problem_body


class Code(StrEnum):
    """Why a question was not answered."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNKNOWN_REQUEST = "unknown_request"
    UNKNOWN_ERASURE = "unknown_erasure"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INVALID_QUERY = "invalid_query"
    TOO_EXPENSIVE = "too_expensive"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"
    OVERLOADED = "overloaded"
    STORE_UNAVAILABLE = "store_unavailable"
    LOG_UNAVAILABLE = "log_unavailable"


MEANINGS: dict[Code, ProblemMeaning] = {
    Code.UNAUTHENTICATED: ProblemMeaning(401, "A valid API key is required"),
    Code.FORBIDDEN: ProblemMeaning(403, "This is not allowed here"),
    Code.UNKNOWN_REQUEST: ProblemMeaning(404, "The request is not known"),
    Code.UNKNOWN_ERASURE: ProblemMeaning(404, "The erasure is not known"),
    Code.NOT_FOUND: ProblemMeaning(404, "There is no such route"),
    Code.METHOD_NOT_ALLOWED: ProblemMeaning(405, "The route does not take this method"),
    Code.INVALID_QUERY: ProblemMeaning(422, "The question is not valid"),
    Code.TOO_EXPENSIVE: ProblemMeaning(422, "The question would read too much"),
    Code.RATE_LIMITED: ProblemMeaning(429, "Too many at once of this tenant", 1),
    Code.INTERNAL_ERROR: ProblemMeaning(500, "Afterword failed; its log says why"),
    Code.OVERLOADED: ProblemMeaning(503, "Too many questions at once", 1),
    Code.STORE_UNAVAILABLE: ProblemMeaning(503, "ClickHouse does not answer", 2),
    Code.LOG_UNAVAILABLE: ProblemMeaning(503, "Kafka does not answer", 2),
}


class Fault(NamedTuple):
    """One thing wrong with a question: the parameter, and what to change."""

    parameter: str
    detail: str


class Problem(Exception):  # noqa: N818 (nothing is wrong with us: the caller is answered)
    """The end of a request that is not answered.  `extra` goes into the body beside the standard members."""

    def __init__(
        self,
        code: Code,
        detail: str,
        faults: tuple[Fault, ...] = (),
        *,
        extra: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.faults = faults
        self.extra = extra or {}
        self.headers = headers or {}

    @property
    def meaning(self) -> ProblemMeaning:
        """Its status, title and when to try again."""
        return MEANINGS[self.code]

    def body(self) -> dict[str, Any]:
        """Return the body as RFC 9457 has it: `application/problem+json`."""
        return problem_body(self.code, self.meaning, self.detail, self.faults, self.extra)


def invalid(*faults: Fault) -> Problem:
    """Return the problem of a question with these faults."""
    parameter, detail = faults[0]
    said = f"{parameter}: {detail}" if parameter else detail
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Problem(Code.INVALID_QUERY, f"{said}{more}", faults)
