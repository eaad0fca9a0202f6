"""What a refusal of the log, or of the guard, is as an answer.  Pure."""

from services.ingest.core.errors import Code, Rejection
from services.ingest.event_log import LogUnavailable, Overloaded
from services.runtime.http.keys import Forbidden, Unauthenticated

OVERLOADED = (
    "more waits for Kafka at the moment than may, of all tenants or of this one; the event was not queued"
)

Refusal = LogUnavailable | Overloaded | Unauthenticated | Forbidden
REFUSALS = (LogUnavailable, Overloaded, Unauthenticated, Forbidden)


def rejection_of(refusal: Refusal) -> Rejection:
    """Return the answer to a request that nothing is wrong with in itself."""
    match refusal:
        case Overloaded():
            return Rejection(Code.OVERLOADED, str(refusal) or OVERLOADED)
        case LogUnavailable():
            return Rejection(Code.LOG_UNAVAILABLE, str(refusal))
        case Unauthenticated():
            headers = ((b"www-authenticate", b"Bearer"),)
            return Rejection(Code.UNAUTHENTICATED, str(refusal), headers=headers)
        case Forbidden():
            return Rejection(Code.FORBIDDEN, str(refusal))
