"""Calls made up from `/openapi.json`: whatever they are, the answer is one that the document has."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.ingest.dialects import DIALECTS
from services.runtime.http.keys import Scope
from tests.support.ingest.app import documented_path, ingest_over, new_key
from tests.support.ingest.fake_log import FakeLog
from tests.support.ingest.logged_events import LoggedEvents

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ROUTES = [(documented_path(dialect, route), route.method) for dialect in DIALECTS for route in dialect.routes]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, str]]:
    """The document with ingest over a log in memory behind it, and headers with a key."""
    home = tmp_path_factory.mktemp("ingest")
    headers = {"x-api-key": new_key(home, Scope.ADMIN)}
    log = FakeLog()
    app = ingest_over(log, home, stored_events=LoggedEvents(log))
    return schemathesis.openapi.from_asgi("/openapi.json", app), headers


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_answers_are_the_documented_ones(api: tuple[Any, dict[str, str]], path: str, method: str) -> None:
    """Good calls and bad ones, on every route."""
    document, headers = api
    operation = document[path][method]
    cases = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @settings(max_examples=20, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.one_of(cases))
    def call(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, headers=headers)

    call()
