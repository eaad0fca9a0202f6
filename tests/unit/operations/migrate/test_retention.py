"""Which settings of retention make sense together, and what they change."""

import pytest

from schemas.topics import DAY_MS, Topology
from services.operations.migrate.core.plan import ExistingTopic
from services.operations.migrate.core.retention import table_changes, topic_changes, topic_settings, ttl
from services.operations.migrate.settings import MigrateSettings
from services.runtime.settings import SettingsError, load

TOPOLOGY = Topology()
ENGINE = "ReplacingMergeTree(log_offset) ORDER BY (tenant){} SETTINGS index_granularity = 1024"


def settings(**variables: int) -> MigrateSettings:
    """Return what an environment with these variables gives."""
    return load(MigrateSettings, {f"RETENTION_{name}": str(value) for name, value in variables.items()})


def existing() -> dict[str, ExistingTopic]:
    """Return the topics as migrate makes them where nothing is set."""
    configs = {topic.name: topic.config() for topic in TOPOLOGY.topics}
    week = {"retention.ms": str(7 * DAY_MS)}  # the broker's own, for a topic that has none
    return {name: ExistingTopic(name, 4, week | config, config) for name, config in configs.items()}


def said(**variables: int) -> list[tuple[str, bool]]:
    """Return what these variables change, and whether that deletes anything."""
    chosen = settings(**variables).given()
    engines = {"feedback_events": ENGINE.format(""), "dead_letters": ENGINE.format("")}
    changes = [*topic_changes(chosen, TOPOLOGY, existing()), *table_changes(chosen, engines)]
    return [(change.text, change.deletes) for change in changes]


def test_unset_retention_is_unchanged() -> None:
    """An upgrade changes no retention, and neither does the default that somebody writes down."""
    assert said() == []
    assert said(EVENTS_DAYS=30, STATE_DAYS=0, EVENTS_TABLE_DAYS=0, COMPACTION_HOURS=24) == []


def test_shorter_deletes_and_longer_does_not() -> None:
    """For ever is longer than anything."""
    assert said(EVENTS_DAYS=7, DEAD_LETTERS_DAYS=0) == [
        ("feedback-events-dlq keeps everything for ever (before: 90 days)", False),
        ("feedback-state-dlq keeps everything for ever (before: 90 days)", False),
        ("feedback-events keeps everything for 7 days (before: 30 days)", True),
    ]
    assert said(EVENTS_TABLE_DAYS=30) == [
        ("feedback_events keeps everything for 30 days (before: ever)", True),
    ]


def test_compacting_sooner_deletes_only_what_was_overwritten() -> None:
    """Tombstones that go sooner are another matter: somebody may have missed them."""
    assert said(COMPACTION_HOURS=1, TOMBSTONES_DAYS=1) == [
        ("feedback-state is compacted after at most 1 hour (before: 1 day)", False),
        ("feedback-state keeps tombstones for 1 day (before: 7 days)", True),
    ]


def test_the_brokers_time_for_logs_means_nothing_to_states() -> None:
    """A compacted topic keeps the last record of a key for ever, unless the merger is told to remove it."""
    assert said(STATE_DAYS=400, EVENTS_TABLE_DAYS=365) == [
        ("feedback-state keeps everything for 400 days (before: ever)", True),
        ("feedback_events keeps everything for 365 days (before: ever)", True),
    ]


def test_new_topics_get_what_is_set() -> None:
    """So that nothing has to be changed right after."""
    wished = topic_settings(settings(EVENTS_DAYS=0, DEAD_LETTERS_DAYS=9).wished(), TOPOLOGY)

    assert wished["feedback-events"] == {"retention.ms": "-1"}
    assert wished["feedback-state-dlq"] == {"retention.ms": str(9 * DAY_MS)}


def test_a_tables_time_is_read_from_its_engine() -> None:
    """As the server writes what a change has made of it."""
    (change,) = table_changes(
        settings(EVENTS_TABLE_DAYS=40).given(),
        {"feedback_events": ENGINE.format(" TTL toDateTime(appended_at) + toIntervalDay(365)")},
    )

    assert change.before == 365 * DAY_MS
    assert change.statement == (
        "ALTER TABLE feedback_events MODIFY TTL toDateTime(appended_at) + toIntervalDay(40)"
    )
    assert ttl(ENGINE.format("")) == -1


def test_nonsense_is_refused_with_all_mistakes_at_once() -> None:
    """Each of these would lose or bring back something without a word."""
    with pytest.raises(SettingsError) as refused:
        settings(EVENTS_TABLE_DAYS=20, DEAD_LETTERS_TABLE_DAYS=20, STATE_DAYS=120, COMPACTION_HOURS=200)

    for mistake in (
        "RETENTION_EVENTS_TABLE_DAYS is less than RETENTION_EVENTS_DAYS",
        "RETENTION_DEAD_LETTERS_TABLE_DAYS is less than RETENTION_DEAD_LETTERS_DAYS",
        "RETENTION_STATE_DAYS must be more than",
        "RETENTION_COMPACTION_HOURS is more than",
    ):
        assert mistake in str(refused.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"STATE_DAYS": 400},
        {"STATE_DAYS": 400, "EVENTS_TABLE_DAYS": 401},
        {"STATE_DAYS": 400, "EVENTS_TABLE_DAYS": 400, "DEAD_LETTERS_DAYS": 0},
    ],
)
def test_a_removed_request_must_leave_nothing_that_brings_it_back(variables: dict[str, int]) -> None:
    """Neither rows of its events, nor dead letters that can be replayed for ever."""
    with pytest.raises(SettingsError, match="RETENTION_STATE_DAYS"):
        settings(**variables)


def test_a_misspelt_setting_is_refused() -> None:
    """It would change nothing, and nobody would know."""
    with pytest.raises(SettingsError, match="RETENTION_EVENTS_DAYS"):
        load(MigrateSettings, {"RETENTION_EVENT_DAYS": "7"})
