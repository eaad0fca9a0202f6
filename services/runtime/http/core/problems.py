"""Problem documents (RFC 9457): what a code means, the body of an answer, and their place in OpenAPI.

Each service has its own closed list of codes; the meanings that services share, and the rendering, are here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

PROBLEM = "#/components/schemas/Problem"
"""Reference to the schema of problems in a service's OpenAPI document."""
PROBLEM_TYPE = "application/problem+json"


class ProblemMeaning(NamedTuple):
    """What a code means over HTTP.  `retry_after_seconds` None: a retry does not help."""

    status: int
    title: str
    retry_after_seconds: int | None = None


UNAUTHENTICATED = ProblemMeaning(401, "A valid API key is required")
FORBIDDEN = ProblemMeaning(403, "This is not allowed")
UNKNOWN_REQUEST = ProblemMeaning(404, "The request is not known")
NOT_FOUND = ProblemMeaning(404, "There is no such route")
METHOD_NOT_ALLOWED = ProblemMeaning(405, "The route does not accept this method")
INTERNAL_ERROR = ProblemMeaning(500, "Internal error; see the service's log")


class ProblemFault(Protocol):
    """One thing wrong with a request: a named tuple that is rendered as an object."""

    def _asdict(self) -> dict[str, Any]: ...


def problem_error(code: str, detail: str, faults: Sequence[ProblemFault] = ()) -> dict[str, Any]:
    """Return what an item of a batch has, too: `code`, `detail`, and `errors` if there are any."""
    error: dict[str, Any] = {"code": code, "detail": detail}
    if faults:
        error["errors"] = [fault._asdict() for fault in faults]
    return error


def problem_body(
    code: str,
    meaning: ProblemMeaning,
    detail: str,
    faults: Sequence[ProblemFault] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body of an answer as RFC 9457 has it; `extra` members come before `errors`."""
    error = problem_error(code, detail, faults)
    errors = {"errors": error.pop("errors")} if faults else {}
    return {
        "type": f"urn:afterword:problem:{code}",
        "title": meaning.title,
        "status": meaning.status,
        **error,
        **(extra or {}),
        **errors,
    }


def problem_answers(problems: Iterable[tuple[str, ProblemMeaning]]) -> dict[int | str, dict[str, Any]]:
    """Return the answers for these codes, by status, as FastAPI's `responses` takes them."""
    found: dict[int | str, dict[str, Any]] = {}
    for code, meaning in problems:
        answer = found.setdefault(
            meaning.status,
            {"description": "", "content": {PROBLEM_TYPE: {"schema": {"$ref": PROBLEM}}}},
        )
        answer["description"] += f"`{code}`: {meaning.title}. "
        if meaning.retry_after_seconds is not None:
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found
