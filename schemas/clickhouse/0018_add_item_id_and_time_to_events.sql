-- What the client's own system calls an item of feedback, and when it was given there.
ALTER TABLE feedback_events
    ADD COLUMN IF NOT EXISTS item_id String
        COMMENT 'The id that the client''s system gave this item, such as a score''s; empty if it sent none.'
        CODEC(ZSTD(1))
        AFTER request,
    ADD COLUMN IF NOT EXISTS at Nullable(DateTime64(6, 'UTC'))
        COMMENT 'When the feedback was given, by the client''s clock, from 1970 to 2099; NULL if it sent none. Orders nothing.'
        CODEC(ZSTD(1))
        AFTER item_id,
    -- So that the request of an item is found by its id without a scan: a change by id names only that.
    ADD INDEX IF NOT EXISTS item_ids item_id TYPE bloom_filter(0.01) GRANULARITY 1;

-- ClickHouse does this in the background, part by part; until then a part is read as before.
ALTER TABLE feedback_events
    MATERIALIZE INDEX item_ids
    SETTINGS mutations_sync = 0;

-- The view with two more columns.  As in the merge, an erase also forgets ids: what is sent again after it under an
-- id from before it counts, whether or not the events from before are deleted yet.
CREATE OR REPLACE VIEW feedback_history
(
    tenant LowCardinality(String)
        COMMENT 'Whose request it is.',
    request_id String
        COMMENT 'The request that the event is about.',
    version UInt64
        COMMENT 'The place of the event in the order of its request.',
    received_at DateTime64(6, 'UTC')
        COMMENT 'When ingest took it.',
    op LowCardinality(String)
        COMMENT 'merge sets keys, retract clears all keys of `data`, erase removes everything before it.',
    source LowCardinality(String)
        COMMENT 'The dialect it came through.',
    set_keys Array(String)
        COMMENT 'The keys that it set: data.rating, request.model.',
    cleared_keys Array(String)
        COMMENT 'The keys that it cleared by a null.',
    data String
        COMMENT 'The feedback that it carried: JSON text of an object.',
    request String
        COMMENT 'The facts of the request that it carried: JSON text of an object.',
    event_id UUID
        COMMENT 'The id that its acknowledgement named.',
    item_id String
        COMMENT 'The id that the client''s system gave it, or empty.',
    at Nullable(DateTime64(6, 'UTC'))
        COMMENT 'When it was given, by the client''s clock; orders nothing.'
)
SQL SECURITY INVOKER
AS SELECT
    tenant,
    request_id,
    version,
    received_at,
    op,
    source,
    arrayMap(found -> found.1, arrayFilter(found -> found.2 != 'null', entries)) AS set_keys,
    arrayMap(found -> found.1, arrayFilter(found -> found.2 = 'null', entries)) AS cleared_keys,
    data,
    request,
    event_id,
    item_id,
    at
FROM
(
    SELECT
        *,
        min(version) OVER (PARTITION BY tenant, request_id, event_id) AS first_version,
        arrayConcat(
            arrayMap(found -> (concat('data.', found.1), found.2), JSONExtractKeysAndValuesRaw(data)),
            arrayMap(found -> (concat('request.', found.1), found.2), JSONExtractKeysAndValuesRaw(request))) AS entries
    FROM
    (
        SELECT
            *,
            maxIf(version, op = 'erase') OVER (PARTITION BY tenant, request_id) AS erased_version
        FROM feedback_events FINAL
        WHERE (tenant, request_id, version) NOT IN
        (
            SELECT tenant, request_id, assumeNotNull(original_version)
            FROM dead_letters FINAL
            WHERE stage = 'merger' AND original_version IS NOT NULL AND replayed_at IS NULL
        )
    )
    WHERE version >= erased_version
)
WHERE version = first_version
COMMENT 'Every event that counts: one row each. Repeats, what was refused and what was erased are left out.';
