"""Kafka Streams of the benchmark and the Kafka that it runs against are of one release."""

from bench.merger.java import ROOTS, streams_jars
from services.local.jars import kafka_jars


def test_the_list_names_its_roots_and_each_jar_once() -> None:
    """Run `python -m bench.merger.java` after another version of Kafka was chosen."""
    jars = streams_jars()

    assert set(ROOTS) <= {jar.coordinates for jar in jars}
    assert len({jar.name for jar in jars}) == len(jars)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 0 for jar in jars)


def test_a_jar_in_both_lists_is_the_same() -> None:
    """Of one version, with one sum: they are kept in one place."""
    broker = {(jar.group, jar.artifact): jar for jar in kafka_jars()}

    for jar in streams_jars():
        assert broker.get((jar.group, jar.artifact), jar) == jar
