"""Calls made up from a service's OpenAPI document, by schemathesis: the answers are those of the document."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from requests import Request
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
_PATIENCE_SECONDS = 120.0
"""On a machine that is busy; no answer within it is a hang."""
_LONGEST_ADDRESS = 60_000
"""The server answers 431 to what is longer, before there is a request to look at."""
_METHODS = ("get", "post", "put", "delete", "patch")


def caller(url: str) -> Callable[[int, int], Counter[int]]:
    """Return what makes up calls of every operation: takes a seed and a number, counts the answers."""
    raw: dict[str, Any] = httpx.get(f"{url}/openapi.json", timeout=60, trust_env=False).json()
    document = schemathesis.openapi.from_dict(raw)
    operations = [
        (path, method.upper())
        for path, known in raw["paths"].items()
        for method in known
        if method in _METHODS
    ]

    def call(number: int, count: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        path, method = operations[number % len(operations)]
        operation = document[path][method]
        cases = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

        @seed(number)
        @settings(
            max_examples=count,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
            deadline=None,
        )
        @given(st.one_of(cases))
        def one(case: Any) -> None:
            request = case.as_transport_kwargs(base_url=url)
            sent = Request(case.method, request["url"], params=request["params"]).prepare()
            assume(len(sent.url or "") < _LONGEST_ADDRESS)
            response = case.call(base_url=url, timeout=_PATIENCE_SECONDS)
            statuses[response.status_code] += 1
            # What waits for a pipeline that is busy is answered 503, as documented.
            checks = _CHECKS if response.status_code == 503 else [*_CHECKS, not_a_server_error]
            case.validate_response(response, checks=checks)

        one()
        return statuses

    return call
