"""Which generation is in use, from what Kafka lists."""

import pytest

from schemas.limits import MIB
from services.pipeline.core.generation_states import (
    CLOSED,
    NEVER_OPENED,
    Generation,
    GenerationState,
    in_use,
    number_of,
    standing_of,
    writable,
)
from services.pipeline.generations import resolved
from services.runtime.settings import KafkaSettings, describe, load

NOWHERE = "127.0.0.1:1"


def found(*standings: tuple[int, GenerationState]) -> list[Generation]:
    """Return generations of four partitions."""
    return [Generation(number, standing, 4) for number, standing in standings]


@pytest.mark.parametrize(
    ("standings", "reads", "writes"),
    [
        ([], 0, 0),
        ([(0, GenerationState.OPEN)], 0, 0),
        ([(0, GenerationState.OPEN), (2, GenerationState.NEW)], 0, 0),
        ([(0, GenerationState.CLOSED), (2, GenerationState.NEW)], 0, None),
        ([(0, GenerationState.CLOSED), (2, GenerationState.OPEN)], 2, 2),
        (
            [
                (0, GenerationState.CLOSED),
                (2, GenerationState.CLOSED),
                (3, GenerationState.NEW),
                (4, GenerationState.NEW),
            ],
            2,
            None,
        ),
        ([(2, GenerationState.OPEN), (3, GenerationState.NEW)], 2, 2),
        ([(0, GenerationState.OPEN), (2, GenerationState.OPEN)], 2, 2),
    ],
)
def test_the_newest_that_was_ever_opened_is_read_and_written_while_it_is_open(
    standings: list[tuple[int, GenerationState]], reads: int, writes: int | None
) -> None:
    """Topics that are being filled take no part."""
    assert (in_use(found(*standings)), writable(found(*standings))) == (reads, writes)


def test_a_limit_shows_whether_a_generation_was_opened_and_closed() -> None:
    """No batch of records fits in either of the two."""
    assert standing_of(NEVER_OPENED) is GenerationState.NEW
    assert standing_of(CLOSED) is GenerationState.CLOSED
    assert standing_of(MIB) is GenerationState.OPEN


@pytest.mark.parametrize(
    ("topic", "number"),
    [
        ("feedback-events", 0),
        ("feedback-events-v2", 2),
        ("feedback-events-v31", 31),
        ("feedback-events-dlq", None),
        ("feedback-events-dlq-v2", None),
        ("feedback-events-v", None),
        ("other-feedback-events", None),
    ],
)
def test_only_topics_of_events_name_a_generation(topic: str, number: int | None) -> None:
    """Dead letters have names that begin the same."""
    assert number_of(topic) == number


async def test_a_generation_that_the_environment_names_is_not_asked_for() -> None:
    """Kafka does not even need to be there."""
    settings = load(KafkaSettings, {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "KAFKA_TOPIC_GENERATION": "3"})
    assert (await resolved(settings, "tests")).kafka_topic_generation == 3


def test_other_changes_of_settings_leave_the_generation_to_be_found() -> None:
    """Only a generation that was given is one."""
    settings = load(KafkaSettings, {}).replace(kafka_bootstrap_servers=NOWHERE)
    assert not settings.is_generation_given
    assert settings.replace(kafka_topic_generation=0).is_generation_given


def test_a_generation_that_is_not_given_shows_as_unset() -> None:
    """Its default only stands in until it is found."""
    shown = {one.variable: (one.value, one.default) for one in describe(load(KafkaSettings, {}))}
    assert shown["KAFKA_TOPIC_GENERATION"] == ("", "")
    shown = {
        one.variable: (one.value, one.default) for one in describe(KafkaSettings(kafka_topic_generation=0))
    }
    assert shown["KAFKA_TOPIC_GENERATION"] == ("0", "")
