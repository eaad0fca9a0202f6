"""Errors of the query service: a closed list of codes, each with its status and title."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from services.runtime.http.core import problems
from services.runtime.http.core.problems import ProblemMeaning, problem_body


class ProblemCode(StrEnum):
    """Why a query was not answered."""

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


MEANINGS: dict[ProblemCode, ProblemMeaning] = {
    ProblemCode.UNAUTHENTICATED: problems.UNAUTHENTICATED,
    ProblemCode.FORBIDDEN: problems.FORBIDDEN,
    ProblemCode.UNKNOWN_REQUEST: problems.UNKNOWN_REQUEST,
    ProblemCode.UNKNOWN_ERASURE: ProblemMeaning(404, "The erasure is not known"),
    ProblemCode.NOT_FOUND: problems.NOT_FOUND,
    ProblemCode.METHOD_NOT_ALLOWED: problems.METHOD_NOT_ALLOWED,
    ProblemCode.INVALID_QUERY: ProblemMeaning(422, "Invalid query"),
    ProblemCode.TOO_EXPENSIVE: ProblemMeaning(422, "The query would read too much"),
    ProblemCode.RATE_LIMITED: ProblemMeaning(429, "Too many concurrent queries of this tenant", 1),
    ProblemCode.INTERNAL_ERROR: problems.INTERNAL_ERROR,
    ProblemCode.OVERLOADED: ProblemMeaning(503, "Too many concurrent queries", 1),
    ProblemCode.STORE_UNAVAILABLE: ProblemMeaning(503, "ClickHouse is unreachable", 2),
    ProblemCode.LOG_UNAVAILABLE: ProblemMeaning(503, "Kafka is unreachable", 2),
}


class ParamFault(NamedTuple):
    """An invalid parameter, and what to change."""

    parameter: str
    detail: str


class QueryProblem(Exception):  # noqa: N818 (an answer to the client, not a failure of the service)
    """Ends a request with an error response; `extra` adds members to the body."""

    def __init__(
        self,
        code: ProblemCode,
        detail: str,
        faults: tuple[ParamFault, ...] = (),
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
        """The status, the title, and when to retry."""
        return MEANINGS[self.code]

    def body(self) -> dict[str, Any]:
        """Return the body, `application/problem+json` (RFC 9457)."""
        return problem_body(self.code, self.meaning, self.detail, self.faults, self.extra)


def invalid(*faults: ParamFault) -> QueryProblem:
    """Return the problem of a request with these invalid parameters."""
    parameter, detail = faults[0]
    first = f"{parameter}: {detail}" if parameter else detail
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return QueryProblem(ProblemCode.INVALID_QUERY, f"{first}{more}", faults)
