-- Every event in the order that decides: the history of a request, audits, reconciliation.
-- The sink reads the events topic by itself, so this table may be ahead of or behind feedback_state.
-- A replayed dead letter keeps its version, and takes the place of the event that it repeats.
CREATE TABLE IF NOT EXISTS feedback_events
(
    tenant LowCardinality(String)
        COMMENT 'Whose event it is.',
    request_id String
        COMMENT 'The request that the event is about.'
        CODEC(ZSTD(1)),
    version UInt64
        COMMENT 'The place of the event in the order of its request: generation of the events topic << 48 | offset.',
    event_id UUID
        COMMENT 'The id that the acknowledgement named.',
    op LowCardinality(String)
        COMMENT 'merge, retract or erase.',
    source LowCardinality(String)
        COMMENT 'The dialect it came through.',
    received_at DateTime64(6, 'UTC')
        COMMENT 'When ingest took it.'
        CODEC(Delta, ZSTD(1)),
    appended_at DateTime64(3, 'UTC')
        COMMENT 'When Kafka appended it to the log.'
        CODEC(Delta, ZSTD(1)),
    idempotent Bool DEFAULT false
        COMMENT 'The event id came from an Idempotency-Key.',
    data String DEFAULT '{}'
        COMMENT 'The feedback: JSON text of an object.'
        CODEC(ZSTD(1)),
    request String DEFAULT '{}'
        COMMENT 'Facts of the request: JSON text of an object.'
        CODEC(ZSTD(1)),
    log_partition UInt32
        COMMENT 'Partition of the events topic.',
    log_offset UInt64
        COMMENT 'Where the record stands: generation << 48 | offset. Above `version` for a replayed event.',
    stored_at DateTime64(6, 'UTC') DEFAULT now64(6)
        COMMENT 'When ClickHouse stored the event.'
        CODEC(Delta, ZSTD(1)),

    CONSTRAINT identified CHECK tenant != '' AND request_id != ''
)
ENGINE = ReplacingMergeTree(log_offset)
ORDER BY (tenant, request_id, version)
SETTINGS
    index_granularity = 1024,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1
COMMENT 'Every event that decodes, by request and version. Write FINAL to leave out repeats.';
