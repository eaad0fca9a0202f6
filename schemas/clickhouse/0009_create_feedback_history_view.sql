-- What changed each request, and when. The table of events has more: repeats, what was refused, what was erased.
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
        COMMENT 'The id that its acknowledgement named.'
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
    event_id
FROM
(
    SELECT
        *,
        min(version) OVER (PARTITION BY tenant, request_id, event_id) AS first_version,
        maxIf(version, op = 'erase') OVER (PARTITION BY tenant, request_id) AS erased_version,
        arrayConcat(
            arrayMap(found -> (concat('data.', found.1), found.2), JSONExtractKeysAndValuesRaw(data)),
            arrayMap(found -> (concat('request.', found.1), found.2), JSONExtractKeysAndValuesRaw(request))) AS entries
    FROM feedback_events FINAL
    WHERE (tenant, request_id, version) NOT IN
    (
        SELECT tenant, request_id, assumeNotNull(original_version)
        FROM dead_letters FINAL
        WHERE stage = 'merger' AND original_version IS NOT NULL AND replayed_at IS NULL
    )
)
WHERE version = first_version AND version >= erased_version
COMMENT 'Every event that counts: one row each. Repeats, what was refused and what was erased are left out.';
