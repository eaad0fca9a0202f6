-- Why merger or sink do not work, so that every part can read it, however often they are started again.
CREATE TABLE IF NOT EXISTS refusals
(
    generation UInt16
        COMMENT 'Generation of the topics.',
    service LowCardinality(String)
        COMMENT 'Who refuses: merger or sink.',
    kind LowCardinality(String)
        COMMENT 'A stable short code, such as beyond_the_end or log_differs.',
    holder String
        COMMENT 'Who keeps the position that does not fit the log; empty if it is not about one.',
    topic LowCardinality(String)
        COMMENT 'The topic of that position.',
    partition UInt32
        COMMENT 'Its partition.',
    position UInt64
        COMMENT 'The position itself: the offset of the next record.',
    mark String
        COMMENT 'Offset and hash of a record below the position, or empty.',
    text String
        COMMENT 'What is wrong.',
    mend String
        COMMENT 'What ends it.',
    is_over UInt8
        COMMENT '1 once the service works again on this generation.',
    updated_at DateTime64(6, 'UTC') DEFAULT now64(6)
        COMMENT 'When it was found, or ended.'
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (generation, service, kind, holder, topic, partition)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1
COMMENT 'Why merger or sink do not work. Write FINAL, and is_over = 0.';
