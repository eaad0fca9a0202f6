"""Declares the routes in FastAPI for their documentation only: `Handler` answers them."""

from functools import partial
from typing import Annotated, Any, NoReturn

from fastapi import Body, FastAPI, Header, Path, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.routing import Match

from schemas.limits import MAX_REQUEST_ID_LENGTH
from services.ingest import documentation as shown
from services.ingest.core.errors import MEANINGS, Code
from services.ingest.dialects import DIALECTS
from services.ingest.dialects.dialect import (
    JSON_TYPE,
    REQUEST_ID,
    Dialect,
    ItemsRoute,
    LookupRoute,
    Route,
    RouteDoc,
)
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
        description="A repeated key for the same request changes nothing. "
        "On a batch it applies to each event by its index.",
    ),
]
ContentEncoding = Annotated[
    str | None, Header(description="gzip or zstd; limits apply to the decompressed body.")
]

SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "basic": {"type": "http", "scheme": "basic", "description": "The key is the password."},
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


def answered_by_handler() -> NoReturn:
    """Raise: `Handler` answers the route before FastAPI is reached."""
    raise AssertionError("the handler answers this route")


async def post_feedback(
    request_id: RequestIdPath,
    body: shown.FeedbackBody,
    idempotency_key: IdempotencyKey = None,
    content_encoding: ContentEncoding = None,
) -> None:
    """Add feedback to a request, in Requesty's dialect.

    May be called any number of times: keys are merged, and a later value of a key replaces an earlier one.
    202 means that Kafka has stored the event.
    """
    answered_by_handler()


async def delete_feedback(request_id: RequestIdPath, idempotency_key: IdempotencyKey = None) -> None:
    """Retract all earlier feedback on a request.

    The facts and the history of the request are kept.
    """
    answered_by_handler()


async def post_vote(
    body: shown.Vote,
    idempotency_key: IdempotencyKey = None,
    content_encoding: ContentEncoding = None,
) -> None:
    """Vote on a completion, in GPTBoost's dialect.

    The vote is always written, also if the answer is 208.
    404 occurs only with keys, or deployments, that require known requests.
    """
    answered_by_handler()


async def post_events(
    body: Annotated[shown.Event | list[shown.Event], Body()],
    idempotency_key: IdempotencyKey = None,
    content_encoding: ContentEncoding = None,
) -> None:
    """Send events: one object (202), or an array or newline-delimited JSON (207).

    Each event of a batch is validated and answered by itself, by index. 503 means that none was accepted.
    """
    answered_by_handler()


async def put_request(
    request_id: RequestIdPath,
    body: shown.Facts,
    idempotency_key: IdempotencyKey = None,
    content_encoding: ContentEncoding = None,
) -> None:
    """Add facts of a request: its model, its latency, any keys.

    They may be sent before, after or without feedback; a later value of a key replaces an earlier one.
    """
    answered_by_handler()


async def probe() -> None:
    """Return whether the process is alive (`/livez`), or can accept events (`/readyz`)."""
    answered_by_handler()


async def metrics() -> None:
    """Return the metrics in the Prometheus text format."""
    answered_by_handler()


class DocumentedRoute(APIRoute):
    """Documented, but never matched: a path that `Handler` does not answer does not exist."""

    def matches(self, scope: Any) -> Any:  # noqa: ARG002 (the signature is Starlette's)
        """Match nothing."""
        return Match.NONE, {}


def _problems(*codes: Code) -> dict[int | str, dict[str, Any]]:
    return problem_answers((code, MEANINGS[code]) for code in codes)


def document_routes(app: FastAPI, root: str = "") -> None:
    """Add every route to the documentation, with the prefixes under which it is available.

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
    for dialect in DIALECTS:
        for route in dialect.routes:
            if route.doc is not None:
                _add_described(app, root, dialect, route, route.doc)
    _add_probes(app)


NDJSON = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One event per line."},
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
                "description": "With the key in the path, for browsers and clients that cannot send headers.",
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


async def _with_id(
    request_id: Annotated[str, Path(description="The id in the path, percent-encoded.")],
) -> None:
    answered_by_handler()


async def _without_id() -> None:
    answered_by_handler()


def _add_described(app: FastAPI, root: str, dialect: Dialect, route: Route, doc: RouteDoc) -> None:
    """Add a route of another system's interface, as far as its examples describe it."""
    types = route.media_types if isinstance(route, ItemsRoute) else (JSON_TYPE,)
    is_public = isinstance(route, LookupRoute) and route.is_public
    extra: dict[str, Any] = {
        "security": [] if is_public else [{name: []} for name in SECURITY],
        "servers": [
            {"url": root or "/"},
            {
                "url": f"{root}/k/{{write_key}}",
                "variables": {"write_key": {"default": "your-key"}},
            },
        ],
    }
    if route.has_body:
        content: dict[str, Any] = {name: {"schema": {}} for name in types}
        if doc.body is not None:
            content[JSON_TYPE] = {"schema": {}, "example": doc.body}
        extra["requestBody"] = {"content": content}
    answer: dict[str, Any] = {"description": "Kafka has stored everything that is kept of it."}
    error = _error(dialect)
    if doc.answer is not None:
        answer["content"] = {JSON_TYPE: {"example": doc.answer}}
    if doc.answer_type != JSON_TYPE:
        answer["content"] = {doc.answer_type: {"schema": {"type": "string"}}}
        error["content"] |= answer["content"]
    app.router.add_api_route(
        f"/{dialect.name}{route.path}",
        _with_id if REQUEST_ID in route.path else _without_id,
        methods=[route.method],
        tags=[dialect.name],
        summary=doc.summary,
        responses={200: answer, "default": error},
        openapi_extra=extra,
        route_class_override=DocumentedRoute,
        operation_id=f"{dialect.name} {route.method} {route.path}",
    )


def _error(dialect: Dialect) -> dict[str, Any]:
    """Return the description of all errors of a dialect."""
    if dialect.problem is None:
        content: dict[str, Any] = {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
    else:
        content = {JSON_TYPE: {"schema": {}}}
    return {"description": "An error, in the form that clients of this system expect.", "content": content}


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


def with_problem_schema(document: dict[str, Any]) -> dict[str, Any]:
    """Add to an OpenAPI document what FastAPI cannot derive: the schema of problems, and authentication."""
    components = document.setdefault("components", {})
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.setdefault("schemas", {}).update(schema.pop("$defs", {}) | {"Problem": schema})
    components["securitySchemes"] = SECURITY
    return document
