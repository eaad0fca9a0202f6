-- What could not be processed, why, and where it stood: nothing vanishes.
-- Keys and values are kept byte for byte. They travel in base64, so that no byte can make an insert fail.
CREATE TABLE IF NOT EXISTS dead_letters
(
    dlq_topic LowCardinality(String)
        COMMENT 'The dead-letter topic.',
    dlq_partition UInt32
        COMMENT 'Its partition.',
    dlq_offset UInt64
        COMMENT 'The offset of the dead letter there.',
    tenant LowCardinality(String)
        COMMENT 'Whose record it was; empty when its key is none of ours.',
    request_id String
        COMMENT 'The request it was about; empty when its key is none of ours.'
        CODEC(ZSTD(1)),
    stage LowCardinality(String)
        COMMENT 'Who gave it up: merger or sink; empty when its headers are none of ours.',
    reason LowCardinality(String)
        COMMENT 'Why, from a closed list.',
    detail String
        COMMENT 'The same in words.'
        CODEC(ZSTD(1)),
    original_topic LowCardinality(String)
        COMMENT 'Where the record stood.',
    original_partition UInt32
        COMMENT 'Where the record stood.',
    original_offset UInt64
        COMMENT 'Where the record stood.',
    original_version Nullable(UInt64)
        COMMENT 'Its place in the order: an event''s version, or a row''s revision.',
    failed_at DateTime64(6, 'UTC')
        COMMENT 'When it was given up.'
        CODEC(Delta, ZSTD(1)),
    key_base64 String EPHEMERAL
        COMMENT 'How `key` is sent.',
    raw_base64 Nullable(String) EPHEMERAL
        COMMENT 'How `raw` is sent.',
    key String DEFAULT base64Decode(key_base64)
        COMMENT 'The record''s key, byte for byte.'
        CODEC(ZSTD(1)),
    raw Nullable(String) DEFAULT if(isNull(raw_base64), NULL, base64Decode(ifNull(raw_base64, '')))
        COMMENT 'The record''s value, byte for byte; NULL for a null value.'
        CODEC(ZSTD(1)),
    replayed_at Nullable(DateTime64(6, 'UTC'))
        COMMENT 'When it was put back into its place, if it was.',
    updated DateTime64(6, 'UTC')
        COMMENT 'The newest row of a dead letter counts: the sink sets the time of the record, a replay its own.',
    stored_at DateTime64(6, 'UTC') DEFAULT now64(6)
        COMMENT 'When ClickHouse stored this row.'
)
ENGINE = ReplacingMergeTree(updated)
ORDER BY (dlq_topic, dlq_partition, dlq_offset)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1
COMMENT 'Records that could not be processed. Write FINAL to see each one once.';
