"""The document of the read API describes what is there: every route, parameter and code."""

from pathlib import Path
from typing import Any

import pytest

from services.query.core.problems import MEANINGS, ProblemCode
from services.query.reads.core.filters import PARAMETERS
from services.query.reads.core.listing import ORDER_NAMES
from services.query.reads.core.sql import COLUMNS
from services.runtime.settings import ClickHouseSettings
from tests.support.query.app import query_over


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """`/openapi.json`, for which no server needs to be there."""
    return query_over(ClickHouseSettings(), Path("nowhere")).openapi()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all reading operations of the API, by path."""
    return {path: one["get"] for path, one in document["paths"].items() if path.startswith("/v1/")}


def test_every_route_of_the_api_is_described(document: dict[str, Any]) -> None:
    """With its answers, how it refuses, and the ways to send a key; probes too."""
    for path, operation in operations(document).items():
        assert operation["summary"], path
        assert "parameters" in operation, f"{path}: describe it with documentation.described"
        assert {"200", "401", "403", "422", "500", "503"} <= set(operation["responses"]), path
        assert {"bearer": []} in operation["security"], path
        assert operation["responses"]["200"]["content"], path
        refusal = operation["responses"]["422"]["content"]
        assert refusal == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert {"/livez", "/readyz", "/metrics"} <= set(document["paths"])


def test_nothing_but_reading_is_offered(document: dict[str, Any]) -> None:
    """The API has no other methods, but for asking for an erasure."""
    other = {(path, method) for path, one in document["paths"].items() for method in one if method != "get"}
    assert other == {("/v1/erasures", "post")}


def test_every_filter_is_described_where_rows_are_filtered(document: dict[str, Any]) -> None:
    """Under the same names everywhere; keys of `data` and `request` as an object of parameters."""
    for path in ("/v1/feedback", "/v1/feedback/export", "/v1/stats"):
        names = {one["name"] for one in operations(document)[path]["parameters"]}
        assert {*PARAMETERS, "comparisons"} <= names, path


def test_the_list_shows_its_orders_and_columns(document: dict[str, Any]) -> None:
    """Every column but the tenant is a member of a row."""
    parameters = {one["name"]: one["schema"] for one in operations(document)["/v1/feedback"]["parameters"]}
    row = document["components"]["schemas"]["Row"]

    assert set(parameters["order"]["enum"]) == set(ORDER_NAMES)
    assert list(row["properties"]) == [name for name in COLUMNS if name != "tenant"]


def test_every_code_is_in_the_document(document: dict[str, Any]) -> None:
    """As a value of `code`, and those that a route of the API can give among its answers."""
    assert set(document["components"]["schemas"]["Code"]["enum"]) == set(ProblemCode)
    for path, operation in operations(document).items():
        said = " ".join(answer["description"] for answer in operation["responses"].values())
        assert f"`{ProblemCode.TOO_EXPENSIVE}`" in said, path
    assert {meaning.status for meaning in MEANINGS.values()} <= {401, 403, 404, 405, 422, 429, 500, 503}
