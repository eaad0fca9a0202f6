"""The OpenAPI document: how routes describe parameters, answers and problems; and the page `/docs`."""

from collections.abc import Collection, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from schemas.limits import MAX_KEY_LENGTH, MAX_REQUEST_ID_LENGTH
from services.query.api import models
from services.query.core.problems import MEANINGS, ProblemCode
from services.query.core.sessions import COOKIE
from services.query.reads.core.filters import MAX_TEXT, MAX_VALUES, SENTIMENTS, VOTES
from services.runtime.http import swagger
from services.runtime.http.core.problems import problem_answers

Described = dict[str, Any]

SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key with the scope `read`."},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "The cookie that /sign-in sets.",
    },
}

ALWAYS = (
    ProblemCode.UNAUTHENTICATED,
    ProblemCode.FORBIDDEN,
    ProblemCode.INVALID_QUERY,
    ProblemCode.TOO_EXPENSIVE,
    ProblemCode.RATE_LIMITED,
    ProblemCode.INTERNAL_ERROR,
    ProblemCode.OVERLOADED,
    ProblemCode.STORE_UNAVAILABLE,
)
"""Problems of every route that reads from ClickHouse."""


def described(
    answer: type[BaseModel] | Mapping[str, Any] | None,
    *parameters: Described,
    also: Collection[ProblemCode] = (),
) -> dict[str, Any]:
    """Return arguments for the decorator of a route: `@router.get(path, **described(Model, LIMIT))`.

    `answer` is a model, the OpenAPI object of an answer that is not JSON (`{"content": …}`), or None where
    the return type of the route is a model.  `also` are codes of the route in addition to ALWAYS.
    """
    shown = {200: dict(answer) if isinstance(answer, Mapping) else {"model": answer}} if answer else {}
    return {
        **({"response_model": None} if answer else {}),
        "responses": {**shown, **problems(*ALWAYS, *also)},
        "openapi_extra": {
            "parameters": list(parameters),
            "security": [{name: []} for name in SECURITY] + [{}],
        },
    }


def problems(*codes: ProblemCode) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of these codes, by status."""
    return problem_answers((code, MEANINGS[code]) for code in codes)


def parameter(name: str, description: str, /, **schema: Any) -> Described:
    """Return a parameter in the query; text unless the schema has another type."""
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": "string"} | schema,
    }


def repeated(name: str, description: str, /, **item: Any) -> Described:
    """Return a parameter that may be repeated."""
    items = {"type": "string", "maxLength": MAX_TEXT} | item
    return parameter(name, description, type="array", items=items, maxItems=MAX_VALUES)


def _once(name: str, description: str) -> Described:
    return parameter(name, description, maxLength=MAX_TEXT)


def _switch(name: str, description: str) -> Described:
    return parameter(name, description, enum=["true", "false"])


def _time(name: str, description: str) -> Described:
    text = f"{description}: RFC 3339 (UTC where it names no zone), or a day, which means its first moment."
    return parameter(name, text, examples=["2026-11-22T08:00:00Z", "2026-11-22"])


def _number(name: str, description: str) -> Described:
    return parameter(name, description, type="number")


_COMPARISON = """Any top-level key: `data.judge=eq:gpt-4`, `request.latency_ms=gt:800`.

Operators are `eq`, `ne`, `lt`, `le`, `gt`, `ge` and `exists` (`exists:true`, `exists:false`); a value without
one means `eq`.  Give the same key twice for a range."""

FILTERS: tuple[Described, ...] = (
    parameter("request_id", "This request alone.", maxLength=MAX_REQUEST_ID_LENGTH),
    repeated("vote", "The word of the rating; `none`: no word.", enum=[*VOTES]),
    repeated(
        "sentiment", "The sentiment of a rating from 1 to 5; `none`: no such rating.", enum=[*SENTIMENTS]
    ),
    repeated("rating", "A number, as which words count too (`5`: 5 and amazing), or a word alone."),
    _number("rating_min", "The rating, words as their numbers, at least."),
    _number("rating_max", "The rating at most."),
    repeated("tag", "All of these tags."),
    repeated("model", "One of these models."),
    repeated("provider", "One of these providers."),
    repeated("source", "Feedback or request data sent in one of these dialects."),
    _once("user_id", "`data.user_id`, else `request.user_id`."),
    _once("session_id", "`data.session_id`, else `request.session_id`."),
    _switch("has_comment", "With a comment, or without one."),
    _switch("has_feedback", "With feedback, or without any."),
    _switch("orphan", "Without request data, or with some."),
    _once("q", "Words that the comment has, all of them, whatever their case."),
    _time("from", "Last updated at or after"),
    _time("to", "Last updated before"),
    _time("first_from", "First received at or after"),
    _time("first_to", "First received before"),
    {
        "name": "comparisons",
        "in": "query",
        "description": _COMPARISON,
        "style": "form",
        "explode": True,
        "schema": {
            "type": "object",
            "propertyNames": {"pattern": r"^(data|request)\.[^\x00]", "maxLength": MAX_KEY_LENGTH},
            "additionalProperties": {"type": "string", "maxLength": MAX_TEXT},
            "maxProperties": MAX_VALUES,
        },
    },
)
"""Every filter, described."""


def page_parameters(most: int, default: int) -> tuple[Described, Described]:
    """Return the parameters of a route that answers in pages."""
    return (
        parameter("limit", "How many at most.", type="integer", minimum=1, maximum=most, default=default),
        parameter(
            "cursor", "The `next_cursor` of the previous page; all other parameters have to be the same."
        ),
    )


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add to an OpenAPI document what FastAPI cannot derive: problems, authentication, and probes."""
    components = document.setdefault("components", {})
    for model in (models.Problem, models.Probe, models.ErasureAsked):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components.setdefault("schemas", {}).update(schema.pop("$defs", {}) | {model.__name__: schema})
    components["securitySchemes"] = SECURITY
    document["paths"] |= _probes()
    return document


def _probes() -> dict[str, Any]:
    said = {"application/json": {"schema": {"$ref": "#/components/schemas/Probe"}}}
    refused = {str(status): answer for status, answer in problems(ProblemCode.FORBIDDEN).items()}
    verdicts = {
        "200": {"description": "It does.", "content": said},
        "503": {"description": "It does not.", "content": said},
        **refused,
    }
    metrics = {
        "200": {"description": "All metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }
    return {
        "/livez": _probe("livez", "Return whether the process is alive.", verdicts),
        "/readyz": _probe("readyz", "Return whether the process can answer queries now.", verdicts),
        "/metrics": _probe("metrics", "Return all metrics in Prometheus' text format.", metrics | refused),
    }


def _probe(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"tags": ["operation"], "operationId": name, "summary": summary, "responses": responses}}


router = APIRouter(include_in_schema=False)
router.mount(swagger.ASSETS, swagger.assets(), "assets")


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Return the page; it loads nothing from other hosts."""
    return swagger.page("Afterword query", request.app.state.service.settings.query_root_path)
