-- Which Kafka the rows came from. The merger and the sink compare it with the Kafka they find.
CREATE TABLE IF NOT EXISTS deployments
(
    generation UInt16
        COMMENT 'Generation of the topics: 0 is `feedback-events`, 2 is `feedback-events-v2`.',
    cluster_id String
        COMMENT 'The id of the Kafka cluster that has the topics.',
    partitions UInt32
        COMMENT 'Partitions of the events topic and of the state topic.',
    recorded_at DateTime64(6, 'UTC') DEFAULT now64(6)
        COMMENT 'When `afterword migrate` recorded it.'
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY generation
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1
COMMENT 'Each generation of topics, and the Kafka cluster it lives in. Write FINAL.';
