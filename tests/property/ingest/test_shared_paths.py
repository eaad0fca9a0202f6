"""Paths that several dialects have: each body is taken by one of them, as that dialect means it."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.core.errors import Rejection
from services.ingest.core.router import Endpoint, Router, chosen
from services.ingest.dialects import DIALECTS

words = st.text(min_size=1, max_size=8)
numbers = st.integers(-10, 10)
metadata = st.dictionaries(words, words, max_size=3)
portkey = st.fixed_dictionaries(
    {"trace_id": words, "value": numbers}, optional={"weight": st.floats(0, 1), "metadata": metadata}
)

BODIES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "/v1/feedback": {
        "gptboost": st.fixed_dictionaries(
            {"message_id": words, "rating": st.sampled_from(["positive", "negative", "amazing"])},
            optional={"comment": words, "tags": st.lists(words)},
        ),
        "helicone": st.fixed_dictionaries({"helicone-id": words, "rating": st.booleans()}),
        "portkey": portkey | st.lists(portkey, max_size=3),
    },
    "/feedback": {
        "langsmith": st.fixed_dictionaries(
            {"run_id": st.uuids().map(str), "key": words, "score": numbers | st.booleans()},
            optional={"id": st.uuids().map(str), "comment": words, "value": words, "trace_id": words},
        ),
        "tensorzero": st.fixed_dictionaries(
            {
                "metric_name": words,
                "value": numbers | st.booleans(),
                "inference_id": st.uuids().map(str),
                "episode_id": st.none(),
                "internal": st.just(value=False),
            },
            optional={"tags": metadata, "dryrun": st.none() | st.booleans()},
        ),
    },
}
"""The bodies that the clients of each dialect send to a path."""

IDENTIFYING = ("message_id", "helicone-id", "trace_id", "metric_name", "key")

others = st.dictionaries(words.filter(lambda name: name not in IDENTIFYING), st.none() | numbers) | numbers


def shared() -> dict[str, Endpoint]:
    """Return the first endpoint of each bare path that several dialects have."""
    router = Router(DIALECTS)
    found = {}
    for path in {route.path.rstrip("/") for dialect in DIALECTS for route in dialect.routes}:
        match = router.find(path.encode())
        endpoint = None if match is None else match.endpoints.get("POST")
        if endpoint is not None and endpoint.others:
            found[path] = endpoint
    return found


SHARED = shared()
PAIRS = [(path, one, other) for path, bodies in BODIES.items() for one, other in permutations(bodies, 2)]


def test_every_shared_path_has_bodies_of_each_of_its_dialects() -> None:
    """A dialect that joins a path needs bodies here."""
    assert {
        path: {endpoint.dialect.name, *(other.dialect.name for other in endpoint.others)}
        for path, endpoint in SHARED.items()
    } == {path: set(bodies) for path, bodies in BODIES.items()}


@pytest.mark.parametrize(("path", "one", "other"), PAIRS)
@given(data=st.data())
def test_a_body_of_one_dialect_is_not_taken_by_another(
    path: str, one: str, other: str, data: st.DataObject
) -> None:
    """Neither by the choice, nor by what the other looks for."""
    body = data.draw(BODIES[path][one])
    endpoint = SHARED[path]
    fits = {taker.dialect.name: taker.route.fits for taker in (endpoint, *endpoint.others)}
    other_fits = fits[other]

    assert chosen(endpoint, body).dialect.name == one
    assert other_fits is not None
    assert not other_fits(body)


@pytest.mark.parametrize("path", SHARED)
@given(body=others)
def test_a_body_of_no_dialect_is_told_what_each_looks_for(path: str, body: Any) -> None:
    """All dialects of the path, and the fields by which they are told apart."""
    endpoint = SHARED[path]
    with pytest.raises(Rejection) as refused:
        chosen(endpoint, body)

    for taker in (endpoint, *endpoint.others):
        assert f"{taker.dialect.name}: {taker.route.looks_for}" in refused.value.detail
        assert taker.route.looks_for
