"""Names and settings of the topics."""

from schemas.topics import Topology


def test_generation_zero_has_no_suffix() -> None:
    """The first topics carry plain names; their groups still name the generation."""
    topology = Topology()

    assert [topic.name for topic in topology.topics] == [
        "feedback-events",
        "feedback-state",
        "feedback-events-dlq",
        "feedback-state-dlq",
    ]
    assert topology.merger_group == "feedback-merger-v0"
    assert topology.sink_group("events") == "feedback-sink-events-v0"
    assert topology.transactional_id(topology.merger_group, 3) == "feedback-merger-v0-3"


def test_a_new_generation_renames_everything() -> None:
    """So that no group continues with offsets of another topic."""
    topology = Topology(2)

    assert topology.events.name == "feedback-events-v2"
    assert topology.merger_group == "feedback-merger-v2"


def test_the_state_has_as_many_partitions_as_the_events() -> None:
    """A key keeps its partition number from events to state; dead letters need one partition."""
    topology = Topology()

    assert tuple(topic.partitions() for topic in topology.topics) == (12, 12, 1, 1)
    assert topology.state.partitions(4) == 4


def test_settings_keep_what_was_acknowledged() -> None:
    """Every topic refuses unclean leaders; with three copies, two must have a record."""
    for topic in Topology().topics:
        assert topic.config(3)["unclean.leader.election.enable"] == "false"
        assert topic.config(3)["min.insync.replicas"] == "2"
        assert topic.config(1)["min.insync.replicas"] == "1"
        assert "min.insync.replicas" not in topic.config(-1)
    assert Topology().events.config()["message.timestamp.type"] == "LogAppendTime"
    assert Topology().state.config()["cleanup.policy"] == "compact"
