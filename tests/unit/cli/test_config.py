"""`afterword config check`: what a service would start with, and all that is wrong with it."""

import json

from services.operations.config import PARTS
from services.runtime.settings import MASK
from tests.support.operations.command import afterword


def test_every_part_that_is_there_is_sound_by_default() -> None:
    """Nobody has to set anything for the local stack."""
    ended = afterword("config", "check", "--json")

    found = json.loads(ended.out)
    assert ended.code == 0
    assert found["sound"]
    assert set(found["parts"]) <= set(PARTS)
    assert {"ingest", "merger", "sink", "query", "migrate", "local"} <= set(found["parts"])
    assert found["parts"]["ingest"]["settings"]["INGEST_PORT"] == "8080"


def test_all_mistakes_of_all_parts_are_reported_at_once() -> None:
    """And the exit code is that of settings."""
    environ = {"INGEST_PORT": "808000", "INGEST_PRT": "1", "CLICKHOUSE_URL": "localhost"}
    ended = afterword("config", "check", "ingest", "migrate", environ=environ)

    assert ended.code == 2
    assert "ingest cannot start:" in ended.err
    assert "INGEST_PORT: " in ended.err
    assert "INGEST_PRT: no such setting; did you mean INGEST_PORT?" in ended.err
    assert "migrate cannot start:" in ended.err
    assert ended.err.count("CLICKHOUSE_URL: ") == 2


def test_a_part_that_is_sound_is_shown_beside_one_that_is_not() -> None:
    """In the JSON as well: scripts see which part it is."""
    ended = afterword("config", "check", "ingest", "migrate", "--json", environ={"INGEST_PORT": "x"})

    found = json.loads(ended.out)
    assert ended.code == 2
    assert not found["sound"]
    assert found["parts"]["ingest"]["mistakes"]
    assert found["parts"]["migrate"] == {"settings": found["parts"]["migrate"]["settings"], "mistakes": []}


def test_secrets_are_masked_in_every_form() -> None:
    """The check can be pasted into a question to others."""
    for form in ([], ["--json"]):
        ended = afterword("config", "check", *form, environ={"CLICKHOUSE_PASSWORD": "hunter2"})

        assert "hunter2" not in ended.out + ended.err
        assert MASK in ended.out


def test_values_that_differ_from_the_default_are_marked() -> None:
    """The reader sees the value and what it would be otherwise."""
    ended = afterword("config", "check", "ingest", environ={"INGEST_PORT": "9999"})

    (line,) = [line for line in ended.out.splitlines() if line.startswith("INGEST_PORT")]
    assert "9999" in line
    assert "Default: 8080" in line


def test_an_unused_variable_is_noted_if_it_looks_like_a_setting() -> None:
    """A misspelt shared variable would silently mean the default."""
    ended = afterword("config", "check", "migrate", environ={"KAFKA_BOOTSTRAP_SERVER": "kafka:9092"})

    assert ended.code == 0
    assert (
        "KAFKA_BOOTSTRAP_SERVER is read by none of these parts; did you mean KAFKA_BOOTSTRAP_SERVERS?"
        in ended.err
    )
