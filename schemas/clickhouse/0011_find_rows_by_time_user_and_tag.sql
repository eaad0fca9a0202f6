-- What lists ask first: the next places in the order of time, of rows that fit the filters. A projection is not
-- used together with FINAL, so whoever asks takes ids from here, and then their rows with FINAL.
-- `request_id` ends the order, so that pages which are ordered by both columns are read as they stand.
ALTER TABLE feedback_state
    ADD COLUMN IF NOT EXISTS has_feedback Bool MATERIALIZED data != '{}'
        COMMENT 'Somebody said something about the request: `data` has a key.' AFTER started_at,
    ADD COLUMN IF NOT EXISTS has_comment Bool MATERIALIZED comment != ''
        COMMENT '`comment` is not empty.' AFTER has_feedback,
    ADD COLUMN IF NOT EXISTS orphan Bool MATERIALIZED request = '{}'
        COMMENT 'Nothing is known of the request itself: `request` has no key.' AFTER has_comment;

ALTER TABLE feedback_state
    ADD PROJECTION IF NOT EXISTS by_time
    (
        SELECT
            tenant, last_received_at, request_id, revision, is_deleted, first_received_at, started_at,
            sources, rating, vote, sentiment, tags, model, provider, latency_ms, cost_usd,
            has_feedback, has_comment, orphan
        ORDER BY tenant, last_received_at, request_id
    );

-- Not in the projection, so that these indexes are used: one user has few of the rows.
ALTER TABLE feedback_state
    ADD INDEX IF NOT EXISTS user_ids user_id TYPE bloom_filter(0.01) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS tag_names tags TYPE bloom_filter(0.01) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS session_ids
        -- notEmpty, not `!= ''`: that is what ClickHouse makes of the condition before it looks for an index.
        if(notEmpty(JSONExtract(data, 'session_id', 'String')), JSONExtract(data, 'session_id', 'String'),
           JSONExtract(request, 'session_id', 'String'))
        TYPE bloom_filter(0.01) GRANULARITY 1;

-- ClickHouse does these in the background, part by part; until then a part is read as before.
ALTER TABLE feedback_state
    MATERIALIZE COLUMN has_feedback, MATERIALIZE COLUMN has_comment, MATERIALIZE COLUMN orphan,
    MATERIALIZE PROJECTION by_time,
    MATERIALIZE INDEX user_ids, MATERIALIZE INDEX tag_names, MATERIALIZE INDEX session_ids
    SETTINGS mutations_sync = 0;

ALTER TABLE feedback_state DROP PROJECTION IF EXISTS newest SETTINGS alter_sync = 0, mutations_sync = 0;
