"""What migrate does, and what it refuses, from what it found."""

import pytest

from schemas.tables import Migration
from schemas.topics import Topology
from services.operations.migrate.core.plan import (
    AppliedMigration,
    ExistingTopic,
    FindingSeverity,
    MigrationRefusedError,
    NeedsRecoveryError,
    broker_findings,
    check_deployment,
    check_server,
    findings,
    pending,
)
from services.pipeline.core.continuity import Recorded, abandoned
from services.pipeline.core.generation_states import GenerationState

TOPOLOGY = Topology()
FIRST, SECOND = Migration(1, "create_a", "SELECT 1;"), Migration(2, "create_b", "SELECT 2;")
DONE = AppliedMigration(1, "create_a", FIRST.checksum)


def topics(partitions: int = 4, /, **changes: str) -> dict[str, ExistingTopic]:
    """Return all topics as migrate makes them, with changed settings of the events topic."""
    made = {
        topic.name: ExistingTopic(topic.name, topic.partitions(partitions), topic.config(1))
        for topic in TOPOLOGY.topics
    }
    events = made[TOPOLOGY.events.name]
    config = {**events.config, **{name.replace("_", "."): value for name, value in changes.items()}}
    return {**made, events.name: ExistingTopic(events.name, partitions, config)}


def test_only_what_was_not_applied_is_run() -> None:
    """A second run has nothing to do."""
    assert pending([], [FIRST, SECOND]) == [FIRST, SECOND]
    assert pending([DONE], [FIRST, SECOND]) == [SECOND]


def test_an_edited_migration_is_refused() -> None:
    """Two databases with the same number would differ."""
    edited = Migration(1, "create_a", "SELECT 3;")

    with pytest.raises(MigrationRefusedError, match="0001_create_a was changed after it was applied"):
        pending([DONE], [edited])


def test_a_database_of_a_newer_afterword_is_refused() -> None:
    """Code must not write to tables that it does not know."""
    with pytest.raises(MigrationRefusedError, match="0003_create_c, which this Afterword does not know"):
        pending([DONE, AppliedMigration(3, "create_c", "x")], [FIRST, SECOND])


@pytest.mark.parametrize("version", ["26.2.1.1", "26.9.2.1", "27.1"])
def test_a_clickhouse_with_text_indexes_will_do(version: str) -> None:
    """26.2 is the first release that needs no setting for them."""
    check_server(version)


@pytest.mark.parametrize("version", ["25.12.9.1", "26.1.3.1"])
def test_an_older_clickhouse_is_refused_with_the_reason(version: str) -> None:
    """The message says which version, and what for."""
    with pytest.raises(MigrationRefusedError, match=r"needs 26\.2 or newer.*text indexes"):
        check_server(version)


def test_the_first_deployment_is_accepted_and_so_is_the_same_again() -> None:
    """Missing topics are created as long as nothing was recorded."""
    check_deployment([], 0, "kraft-1", ["feedback-events"], "afterword")
    check_deployment([Recorded(0, "kraft-1", 4)], 0, "kraft-1", [], "afterword")


def test_another_cluster_is_refused_and_a_new_generation_is_the_way_out() -> None:
    """Offsets began again, so new events would have lower versions than stored rows."""
    with pytest.raises(MigrationRefusedError, match=r"(?s)kraft-2.*kraft-1.*`afterword recover`"):
        check_deployment([Recorded(0, "kraft-1", 4)], 0, "kraft-2", [], "afterword")

    following = ([Recorded(0, "kraft-1", 4)], 2, "kraft-2", ["feedback-events-v2"], "afterword")
    with pytest.raises(NeedsRecoveryError, match="would begin without them"):
        check_deployment(*following)
    check_deployment(*following, has_rows=False)


def test_a_generation_that_was_never_opened_or_was_left_is_refused() -> None:
    """Its states may not be complete; or a newer one holds all of it."""
    with pytest.raises(MigrationRefusedError, match="never opened"):
        check_deployment(
            [Recorded(2, "kraft-1", 4)], 2, "kraft-1", [], "afterword", standing=GenerationState.NEW
        )
    left = [abandoned(Recorded(0, "kraft-1", 4)), Recorded(2, "kraft-1", 4)]
    with pytest.raises(MigrationRefusedError, match="set it to 2"):
        check_deployment(left, 0, "kraft-1", [], "afterword")


def test_a_topic_that_was_deleted_is_not_made_again_under_its_name() -> None:
    """Its offsets would begin again."""
    with pytest.raises(MigrationRefusedError, match="Kafka has lost feedback-state"):
        check_deployment([Recorded(0, "kraft-1", 4)], 0, "kraft-1", ["feedback-state"], "afterword")


def test_a_generation_older_than_the_newest_is_refused() -> None:
    """A forgotten KAFKA_TOPIC_GENERATION must not bring back topics whose events lose against every row."""
    with pytest.raises(MigrationRefusedError, match="Set KAFKA_TOPIC_GENERATION=3"):
        check_deployment([Recorded(3, "kraft-1", 4)], 2, "kraft-1", ["feedback-events-v2"], "afterword")


def test_topics_as_migrate_makes_them_are_sound() -> None:
    """Nothing to report, whatever their number of partitions."""
    assert list(findings(TOPOLOGY, topics(), None)) == []


def test_a_number_of_partitions_that_was_asked_for_must_hold() -> None:
    """Partitions never change, so the wish is wrong, not the topic."""
    found = list(findings(TOPOLOGY, topics(4), 5))

    assert [finding.text for finding in found] == [
        "feedback-events has 4 partitions, not 5.",
        "feedback-state has 4 partitions, not 5.",
    ]


def test_events_and_state_must_have_equally_many_partitions() -> None:
    """A row lives in the partition of its events."""
    made = topics(4)
    made["feedback-state"] = ExistingTopic("feedback-state", 6, made["feedback-state"].config)

    (finding,) = findings(TOPOLOGY, made, None)

    assert finding.weight is FindingSeverity.WRONG
    assert "feedback-events has 4 partitions and feedback-state has 6" in finding.text


@pytest.mark.parametrize(
    ("name", "value", "weight"),
    [
        ("retention_ms", "86400000", FindingSeverity.WRONG),
        ("retention_ms", "-1", FindingSeverity.NOTE),
        ("retention_ms", "31536000000", FindingSeverity.NOTE),
        ("max_message_bytes", "1000", FindingSeverity.WRONG),
        ("max_message_bytes", "99999999", FindingSeverity.NOTE),
        ("cleanup_policy", "compact", FindingSeverity.WRONG),
        ("message_timestamp_type", "CreateTime", FindingSeverity.WRONG),
        ("unclean_leader_election_enable", "true", FindingSeverity.WRONG),
    ],
)
def test_less_than_promised_is_wrong_and_more_is_a_choice(
    name: str, value: str, weight: FindingSeverity
) -> None:
    """Shorter retention loses events; longer retention costs the operator's own disk."""
    (finding,) = findings(TOPOLOGY, topics(**{name: value}), None)

    assert finding.weight is weight
    assert "--entity-name feedback-events --add-config" in finding.remedy


def test_a_broker_that_forgets_positions_early_is_noted() -> None:
    """A service that was stopped for a week would begin again from the log's start."""
    (finding,) = broker_findings({"offsets.retention.minutes": "10080", "auto.create.topics.enable": "false"})

    assert finding.weight is FindingSeverity.NOTE
    assert "43200" in finding.remedy


def test_a_broker_that_creates_topics_by_itself_is_noted() -> None:
    """A topic made by accident has the wrong settings for ever."""
    (finding,) = broker_findings({"auto.create.topics.enable": "true"})

    assert "auto.create.topics.enable=false" in finding.remedy
