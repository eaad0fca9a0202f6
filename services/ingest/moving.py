"""Which generation of the topics takes events, and what to say while none does."""

from services.ingest.settings import IngestSettings
from services.pipeline.core.generation_states import Generation, Standing, writable
from services.pipeline.generations import generations
from services.pipeline.survey import admin

CLIENT = "ingest-generation"


class Moving(Exception):  # noqa: N818 (it says what happens)
    """No generation takes events at the moment; the text says what to do if that lasts."""


async def destination(settings: IngestSettings) -> int:
    """Return the generation to write to; Moving when there is none, KafkaError when Kafka does not answer."""
    given = settings.kafka_topic_generation if settings.is_generation_given else None
    async with admin(settings, CLIENT) as client:
        found = await generations(client, given)
    if given is not None:
        return _checked(given, found)
    number = writable(found)
    if number is None:
        raise Moving(
            "the topics are moving to a new generation, and none takes events for a while; if that lasts,"
            " `afterword resize` was cut off: run it again, or `afterword resize --abort`"
        )
    return number


def _checked(given: int, found: list[Generation]) -> int:
    if any(one.standing is not Standing.OPEN for one in found):
        raise Moving(
            f"generation {given} of the topics takes no events; KAFKA_TOPIC_GENERATION names it: unset it,"
            " and start ingest again, to use the one that does"
        )
    return given
