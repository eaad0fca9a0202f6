-- How far each partition is stored. A row is written only after ClickHouse has everything before it.
CREATE TABLE IF NOT EXISTS sink_positions
(
    route LowCardinality(String)
        COMMENT 'The part of the sink: state, events or dlq.',
    topic LowCardinality(String)
        COMMENT 'The topic, whose name has its generation.',
    partition UInt32
        COMMENT 'The partition.',
    position UInt64
        COMMENT 'Every record below this offset is stored. It never falls: reading again changes no row.',
    appended_at DateTime64(3, 'UTC')
        COMMENT 'The newest record timestamp stored from the partition: how fresh the table is.',
    updated_at DateTime64(6, 'UTC') DEFAULT now64(6)
        COMMENT 'When the position was stored.'
)
ENGINE = ReplacingMergeTree(position)
ORDER BY (topic, partition)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1
COMMENT 'How far each partition of each topic is stored. Write FINAL.';
