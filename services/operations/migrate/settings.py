"""Settings of `afterword migrate`."""

from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from schemas.topics import (
    DAY_MS,
    DEAD_LETTERS_RETENTION_MS,
    DEFAULT_PARTITIONS,
    EVENTS_RETENTION_MS,
    TOMBSTONE_RETENTION_MS,
)
from services.runtime.settings import ClickHouseSettings, KafkaSettings, Settings

_LONGEST_DAYS = 36_500


class RetentionSettings(Settings):
    """Retention of topics and tables.  For existing ones, only variables that are set are applied."""

    prefix: ClassVar[str] = "RETENTION_"

    retention_events_days: int = Field(
        default=EVENTS_RETENTION_MS // DAY_MS,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days that the events topic keeps an event; 0: for ever.",
    )
    retention_dead_letters_days: int = Field(
        default=DEAD_LETTERS_RETENTION_MS // DAY_MS,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days that the dead-letter topics keep a record; 0: for ever.",
    )
    retention_events_table_days: int = Field(
        default=0, ge=0, le=_LONGEST_DAYS, description="Days that `feedback_events` keeps a row; 0: for ever."
    )
    retention_dead_letters_table_days: int = Field(
        default=0, ge=0, le=_LONGEST_DAYS, description="Days that `dead_letters` keeps a row; 0: for ever."
    )
    retention_state_days: int = Field(
        default=0,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days without an event after which the merger removes a request everywhere; 0: never.",
    )
    retention_tombstones_days: int = Field(
        default=TOMBSTONE_RETENTION_MS // DAY_MS,
        ge=1,
        le=_LONGEST_DAYS,
        description="Days that the state topic keeps a tombstone; a merger or sink must not be down longer.",
    )
    retention_compaction_hours: int = Field(
        default=24, ge=1, le=24 * 365, description="Hours until the state topic drops overwritten records."
    )

    def wished(self) -> dict[str, int]:
        """Return every retention by name."""
        return {name: getattr(self, name) for name in RetentionSettings.model_fields}

    def given(self) -> dict[str, int]:
        """Return those that are set."""
        return {name: value for name, value in self.wished().items() if name in self.model_fields_set}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if faults := [text for holds, text in self._rules() if not holds]:
            raise ValueError("; ".join(faults))
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        """Return conditions, each with the message if it is false."""
        return [
            (
                not _is_shorter(self.retention_events_table_days, self.retention_events_days),
                (
                    "RETENTION_EVENTS_TABLE_DAYS is less than RETENTION_EVENTS_DAYS: the table would lack"
                    " events that the log still has"
                ),
            ),
            (
                not _is_shorter(self.retention_dead_letters_table_days, self.retention_dead_letters_days),
                (
                    "RETENTION_DEAD_LETTERS_TABLE_DAYS is less than RETENTION_DEAD_LETTERS_DAYS: the table"
                    " would lack dead letters that the topic still has"
                ),
            ),
            (
                self.retention_compaction_hours <= 24 * self.retention_tombstones_days,
                (
                    "RETENTION_COMPACTION_HOURS is more than RETENTION_TOMBSTONES_DAYS: a tombstone would go"
                    " before what it deletes"
                ),
            ),
            *self._state_rules(),
        ]

    def _state_rules(self) -> list[tuple[bool, str]]:
        state, events, letters = (
            self.retention_state_days,
            self.retention_events_days,
            self.retention_dead_letters_days,
        )
        if not state:
            return []
        return [
            (
                bool(events and letters and state > events + letters),
                (
                    "RETENTION_STATE_DAYS must be more than RETENTION_EVENTS_DAYS and"
                    f" RETENTION_DEAD_LETTERS_DAYS together ({_as_text(events)} + {_as_text(letters)}):"
                    " an event or a replay from before would make half a row"
                ),
            ),
            (
                bool(0 < self.retention_events_table_days <= state),
                (
                    "RETENTION_STATE_DAYS needs RETENTION_EVENTS_TABLE_DAYS of at most as many days:"
                    " `feedback_events` would keep what was removed, and `afterword rebuild` bring it back"
                ),
            ),
        ]


def _is_shorter(one: int, other: int) -> bool:
    """Return whether one retention is shorter than another; 0 is for ever."""
    return one != 0 and (other == 0 or one < other)


def _as_text(days: int) -> str:
    return f"{days} days" if days else "for ever"


class ReplicationSettings(Settings):
    """Replication of topics that a command creates."""

    kafka_replication_factor: int | None = Field(
        default=None,
        ge=-1,
        le=100,
        description="Replicas of each new topic; unset: 3, or the number of brokers if smaller; -1: the"
        " brokers' default. With fewer brokers up, migrate refuses without `--yes`.",
    )

    @field_validator("kafka_replication_factor")
    @classmethod
    def _is_some(cls, value: int | None) -> int | None:
        if value == 0:
            raise ValueError("a topic has at least one replica")
        return value


class MigrateSettings(KafkaSettings, ClickHouseSettings, RetentionSettings, ReplicationSettings):
    """Servers, partitions and replication of new topics, and retention."""

    kafka_partitions: int = Field(
        default=DEFAULT_PARTITIONS,
        ge=1,
        le=10_000,
        description="Partitions of the events topic and of the state topic when `afterword migrate` creates"
        " them; only `afterword resize` changes the number later.",
    )
