"""Calls made up from `/openapi.json`: whatever they are, the answer is one that the document has."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from requests import Request
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import insert, state_row
from tests.support.http.server import serving
from tests.support.query.app import query_over

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
DOCUMENT = query_over(ClickHouseSettings(), Path("nowhere")).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
PATHS = sorted(DOCUMENT["paths"])
MAX_URL = 60_000
"""The server answers 400 to what is longer, before there is a request to look at."""
NEED_KAFKA = {"/v1/watermark"}
"""503 is what they answer here."""


@pytest.fixture(scope="module")
async def url(
    query_tables: ClickHouseSettings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """A query service with a row of everything."""
    data = {"rating": "amazing", "tags": ["a"], "comment": "good", "helpful": True, "user_id": "u"}
    facts = {"model": "m", "provider": "p", "latency_ms": 1.5, "cost_usd": 1e-05, "started_at": 0}
    await insert(query_tables, "feedback_state", [state_row("0", data=data, request=facts), state_row("1")])
    app = query_over(query_tables, tmp_path_factory.mktemp("home"), kafka_bootstrap_servers="127.0.0.1:1")
    async with serving(app) as url:
        yield url


PARAMETERS = [
    (path, parameter["name"])
    for path in PATHS
    for parameter in DOCUMENT["paths"][path].get("get", {}).get("parameters", ())
    if parameter["in"] == "query" and parameter["name"] not in ("comparisons", "cursor")
]


async def test_no_parameter_of_any_route_may_be_empty(url: str) -> None:
    """A filter without a value would hand over everybody."""
    assert ("/v1/feedback/export", "user_id") in PARAMETERS
    async with httpx.AsyncClient(base_url=url) as client:
        for path, name in PARAMETERS:
            address = re.sub(r"{\w+}", "0", path)
            answer = await client.get(address, params={name: ""})

            assert answer.status_code == 422, (path, name)
            assert [fault["parameter"] for fault in answer.json()["errors"]] == [name]


CALLS = [(path, method.upper()) for path in PATHS for method in DOCUMENT["paths"][path]]


@pytest.mark.parametrize(("path", "method"), CALLS)
async def test_answers_are_the_documented_ones(url: str, path: str, method: str) -> None:
    """Good calls and bad ones, on every route."""
    operation = SCHEMA[path][method]
    cases = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
    checks = [check for check in CHECKS if path not in NEED_KAFKA or check is not not_a_server_error]

    @settings(
        max_examples=10, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.one_of(cases))
    def call(case: Any) -> None:
        request = case.as_transport_kwargs(base_url=url)
        sent = Request("GET", request["url"], params=request["params"]).prepare()
        assume(len(sent.url or "") < MAX_URL)
        case.call_and_validate(base_url=url, checks=checks)

    await asyncio.to_thread(call)
