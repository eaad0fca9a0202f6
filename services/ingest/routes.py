"""What FastAPI knows of the routes: their documentation.  The door answers before FastAPI would."""

from functools import partial
from typing import Annotated, Any, NoReturn

from fastapi import Body, FastAPI, Header, Path, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.routing import Match

from schemas.limits import MAX_REQUEST_ID_LENGTH
from services.ingest import documentation as shown
from services.ingest.core.errors import MEANINGS, Code
from services.ingest.documentation import Accepted, BatchResult, Probe, Problem
from services.runtime.http.core.problems import problem_answers

RequestIdPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=MAX_REQUEST_ID_LENGTH,
        description="The id of the request. Percent-encode it: `/` is `%2F`. `.` and `..` are refused.",
        examples=["chatcmpl-1"],
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=256,
        description="The same key again, for the same request, changes nothing. "
        "On a batch it counts for each event by its index.",
    ),
]
ContentEncoding = Annotated[str | None, Header(description="gzip or zstd; limits count what comes out.")]

SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
BODY_CODES = (
    Code.MALFORMED_JSON,
    Code.REQUEST_TIMEOUT,
    Code.TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
)
ALWAYS = (
    Code.UNAUTHENTICATED,
    Code.FORBIDDEN,
    Code.INVALID_FEEDBACK,
    Code.RATE_LIMITED,
    Code.INTERNAL_ERROR,
    Code.LOG_UNAVAILABLE,
    Code.OVERLOADED,
)


def answered_at_the_door() -> NoReturn:
    """Never run: the door answered."""
    raise AssertionError("the door answers this route")


async def post_feedback(
    request_id: RequestIdPath,
    body: shown.FeedbackBody,
    idempotency_key: IdempotencyKey = None,
    content_encoding: ContentEncoding = None,
) -> None:
    """Add feedback to a request, in Requesty's dialect.

    Send as often as you like: keys are merged, and a later value of a key replaces the earlier one.
    202 means that Kafka has it.
    """
    answered_at_the_door()


async def delete_feedback(request_id: RequestIdPath, idempotency_key: IdempotencyKey = None) -> None:
    """Retract all feedback given on a request so far.

    The request's own facts stay, and so does its history.
    """
    answered_at_the_door()


async def post_vote(
    body: shown.Vote,
    idempotency_key: IdempotencyKey = None,
    content_encoding: ContentEncoding = None,
) -> None:
    """Vote on a completion, in GPTBoost's dialect.

    The vote is always written, also when the answer is 208.
    404 is only for keys, or deployments, that ask for known requests.
    """
    answered_at_the_door()


async def post_events(
    body: Annotated[shown.Event | list[shown.Event], Body()],
    idempotency_key: IdempotencyKey = None,
    content_encoding: ContentEncoding = None,
) -> None:
    """Send events: one object (202), or an array or newline-delimited JSON (207).

    In a batch each event is judged alone, and answered by its index. 503 means that not one was accepted.
    """
    answered_at_the_door()


async def put_request(
    request_id: RequestIdPath,
    body: shown.Facts,
    idempotency_key: IdempotencyKey = None,
    content_encoding: ContentEncoding = None,
) -> None:
    """Tell the facts of a request: its model, its latency, any keys.

    They may come before, after or without feedback; a later value of a key replaces the earlier one.
    """
    answered_at_the_door()


async def probe() -> None:
    """Tell whether the process lives (`/livez`), or does its work right now (`/readyz`)."""
    answered_at_the_door()


async def metrics() -> None:
    """Return all metrics in Prometheus' text format."""
    answered_at_the_door()


class DocumentedRoute(APIRoute):
    """Shown, never matched: what the door does not answer is not there."""

    def matches(self, scope: Any) -> Any:  # noqa: ARG002 (the signature is Starlette's)
        """Match nothing."""
        return Match.NONE, {}


def _problems(*codes: Code) -> dict[int | str, dict[str, Any]]:
    return problem_answers((code, MEANINGS[code]) for code in codes)


def declare(app: FastAPI, root: str = "") -> None:
    """Add every route to the documentation, each under the prefixes at which it is answered too.

    `root` is the path prefix under which a proxy publishes all of them.
    """
    add = partial(_add, app, root)
    body, plain = _problems(*BODY_CODES, *ALWAYS), _problems(*ALWAYS)
    unknown = _problems(Code.UNKNOWN_REQUEST)
    single: dict[int | str, dict[str, Any]] = {202: {"model": Accepted}}
    add("requesty", "POST", "/feedback/{request_id}", post_feedback, single | body | unknown)
    add("requesty", "DELETE", "/feedback/{request_id}", delete_feedback, single | plain)
    votes: dict[int | str, dict[str, Any]] = {
        200: {"model": shown.VoteAccepted},
        208: {"model": shown.VoteRepeated},
        404: {"model": shown.VoteUnknown},
    }
    add("gptboost", "POST", "/v1/feedback/", post_vote, votes | body)
    events = {**single, 207: {"model": BatchResult}}
    add("native", "POST", "/v1/events", post_events, events | body | unknown, body_types=NDJSON)
    add("native", "PUT", "/v1/requests/{request_id}", put_request, single | body)
    _add_probes(app)


NDJSON = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One event a line."},
        "example": '{"request_id": "chatcmpl-1", "data": {"rating": 5}}\n',
    }
}


def _add(
    app: FastAPI,
    root: str,
    dialect: str,
    method: str,
    path: str,
    endpoint: Any,
    responses: dict[int | str, dict[str, Any]],
    *,
    body_types: dict[str, Any] | None = None,
) -> None:
    prefixes = ("", f"/{dialect}")
    extra: dict[str, Any] = {
        "security": [{name: []} for name in SECURITY],
        "servers": [{"url": f"{root}{prefix}" or "/"} for prefix in prefixes]
        + [
            {
                "url": f"{root}/k/{{write_key}}{prefix}",
                "description": "With the key in the path, for browsers and clients that send no header.",
                "variables": {"write_key": {"default": "your-key"}},
            }
            for prefix in prefixes
        ],
    }
    if body_types:
        extra["requestBody"] = {"content": body_types}
    first = next(iter(responses))
    app.router.add_api_route(
        path,
        endpoint,
        methods=[method],
        tags=[dialect],
        status_code=int(first),
        response_model=responses[first].get("model"),
        responses=responses,
        openapi_extra=extra,
        response_class=JSONResponse,
        route_class_override=DocumentedRoute,
        operation_id=endpoint.__name__,
    )


def _add_probes(app: FastAPI) -> None:
    answers: dict[int | str, dict[str, Any]] = {200: {"model": Probe}, 503: {"model": Probe}}
    for path in ("/livez", "/readyz"):
        app.router.add_api_route(
            path,
            probe,
            tags=["operation"],
            responses=answers,
            response_model=Probe,
            operation_id=path[1:],
            route_class_override=DocumentedRoute,
        )
    app.router.add_api_route(
        "/metrics",
        metrics,
        tags=["operation"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        operation_id="metrics",
        route_class_override=DocumentedRoute,
    )


def with_problem(document: dict[str, Any]) -> dict[str, Any]:
    """Add to an OpenAPI document what FastAPI cannot derive: problems, and the ways to send a key."""
    components = document.setdefault("components", {})
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.setdefault("schemas", {}).update(schema.pop("$defs", {}) | {"Problem": schema})
    components["securitySchemes"] = SECURITY
    return document
