-- Erasures: what was asked for, how far each one is, and up to where each request is erased.
-- No user id is kept: only its hash, by which rows are found, and an erasure can be proved later.
CREATE TABLE IF NOT EXISTS erasures
(
    tenant LowCardinality(String)
        COMMENT 'Whose feedback it is about.',
    id UUID
        COMMENT 'The id that the answer named.',
    state LowCardinality(String)
        COMMENT 'asked, published, merged, deleted or verified.',
    asked_at DateTime64(6, 'UTC')
        COMMENT 'When it was asked for.',
    asked_by LowCardinality(String)
        COMMENT 'api or command.',
    user_hash String
        COMMENT 'Of an erasure by user: the first 16 bytes of SHA-256 of `tenant/user id`, in hex; else empty.',
    asked_for Array(String)
        COMMENT 'Of an erasure by request: the request ids that were named.'
        CODEC(ZSTD(1)),
    request_ids Array(String)
        COMMENT 'Every request that it erases, as far as they are known.'
        CODEC(ZSTD(1)),
    found Map(LowCardinality(String), UInt64)
        COMMENT 'How many rows of each table it found before it erased them.',
    rounds UInt32
        COMMENT 'How often it looked for requests and found some.',
    problem String
        COMMENT 'What keeps it from getting on, or empty.',
    certificate String
        COMMENT 'What was done, checked, and is kept until when: JSON text of an object, once it is verified.'
        CODEC(ZSTD(1)),
    updated DateTime64(6, 'UTC') DEFAULT now64(6)
        COMMENT 'When this row was written; the newest one counts.'
)
ENGINE = ReplacingMergeTree(updated)
ORDER BY (tenant, id)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1
COMMENT 'Erasures that were asked for. Write FINAL.';

-- Kept for ever, and apart from the events: an event from before its erase may come back after the erase itself
-- has left the log, by a dead letter or by reading topics anew.
CREATE TABLE IF NOT EXISTS erased_requests
(
    tenant LowCardinality(String)
        COMMENT 'Whose request it was.',
    request_id String
        COMMENT 'The request.'
        CODEC(ZSTD(1)),
    version UInt64
        COMMENT 'Everything of the request up to this version is erased.',
    event_id UUID
        COMMENT 'The erase event; one erasure''s share their first 18 characters.',
    appended_at DateTime64(3, 'UTC')
        COMMENT 'When Kafka appended the erase event; 1970 where that is not known any more.',
    noted_at DateTime64(6, 'UTC') DEFAULT now64(6)
        COMMENT 'When the sink saw that the merger has carried it out.'
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant, request_id, version)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1
COMMENT 'Erase events that the merger has carried out: the sweep deletes what lies at or below them.';

-- Who is named, also where the value was replaced since: without an index, one person would cost a look into
-- every prompt and answer.
ALTER TABLE feedback_events
    ADD COLUMN IF NOT EXISTS user_ids Array(String)
        ALIAS arrayFilter(user -> user != '',
                          [tupleElement(JSONExtract(data, 'Tuple(user_id String)'), 1),
                           tupleElement(JSONExtract(request, 'Tuple(user_id String)'), 1)])
        COMMENT '`data.user_id` and `request.user_id`, as far as the event names them.',
    ADD COLUMN IF NOT EXISTS user_hashes Array(FixedString(16))
        MATERIALIZED arrayMap(user -> toFixedString(substring(SHA256(concat(tenant, '/', user)), 1, 16), 16), user_ids)
        COMMENT 'Their hashes, by which an erasure finds them.',
    ADD INDEX IF NOT EXISTS user_hashes user_hashes TYPE bloom_filter(0.01) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS ops op TYPE set(4) GRANULARITY 1;

ALTER TABLE feedback_state
    ADD COLUMN IF NOT EXISTS erased UInt64 DEFAULT 0
        COMMENT 'Of an erased request: everything up to this version is erased.',
    ADD COLUMN IF NOT EXISTS user_ids Array(String)
        ALIAS arrayFilter(user -> user != '',
                          [tupleElement(feedback_texts, 'user_id'), tupleElement(request_texts, 'user_id')])
        COMMENT '`data.user_id` and `request.user_id`, as far as they are known.',
    ADD COLUMN IF NOT EXISTS user_hashes Array(FixedString(16))
        MATERIALIZED arrayMap(user -> toFixedString(substring(SHA256(concat(tenant, '/', user)), 1, 16), 16), user_ids)
        COMMENT 'Their hashes, by which an erasure finds them.',
    ADD INDEX IF NOT EXISTS user_hashes user_hashes TYPE bloom_filter(0.01) GRANULARITY 1;

-- ClickHouse does these in the background, part by part; until then a part is read as before.
ALTER TABLE feedback_events
    MATERIALIZE COLUMN user_hashes, MATERIALIZE INDEX user_hashes, MATERIALIZE INDEX ops
    SETTINGS mutations_sync = 0;

ALTER TABLE feedback_state
    MATERIALIZE COLUMN user_hashes, MATERIALIZE INDEX user_hashes
    SETTINGS mutations_sync = 0;
