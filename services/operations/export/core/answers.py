"""What an answer of the query service means for an export: rows come, again, or stop.  Pure."""

from services.operations.send.core.answers import Again, Refused, pause_of, problem_in

_AGAIN_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def refusal_of(status: int, retry_after: str | None, body: bytes) -> Again | Refused:
    """Return what an answer that is no export means.  `retry_after` is the header's text."""
    problem = problem_in(body)
    if status in _AGAIN_STATUS:
        return Again(f"{status} {problem}".strip(), pause_of(retry_after))
    if status in (401, 403):
        return Refused(f"the server refuses the key ({status} {problem}); see --key")
    if status == 422 and problem:
        return Refused(f"the server refuses the question ({problem})")
    return Refused(f"{status}: that is no answer of Afterword's query service; is the URL right?")
