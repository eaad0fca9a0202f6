-- Several raters of one answer: `feedback` has the latest value of a key, here each rater has their own.
-- Computed from the events when asked, by the laws of the merge: ask for a request, or for one tenant's.
CREATE OR REPLACE VIEW feedback_raters
(
    tenant LowCardinality(String)
        COMMENT 'Whose request it is.',
    request_id String
        COMMENT 'The request that the feedback is about.',
    key String
        COMMENT 'The top-level key of `data`; `user_id` itself is none.',
    rater String
        COMMENT 'Who gave the value: `data.user_id` of the same event if it is a string, else empty.',
    value String
        COMMENT 'The latest value of this rater: JSON text.',
    number Nullable(Float64)
        COMMENT 'The value as a number, true as 1 and false as 0; NULL for any other, also for a text of digits.',
    text String
        COMMENT 'The characters of a string; the JSON text of any other value.',
    version UInt64
        COMMENT 'The event that gave the value.',
    received_at DateTime64(6, 'UTC')
        COMMENT 'When ingest took it.',
    at Nullable(DateTime64(6, 'UTC'))
        COMMENT 'When it was given, by the client''s clock; NULL if it sent none.'
)
SQL SECURITY INVOKER
AS SELECT
    tenant,
    request_id,
    key,
    rater,
    latest.1 AS value,
    multiIf(value = 'true', 1, value = 'false', 0,
            JSONType(value) IN ('Int64', 'UInt64', 'Double'), JSONExtract(value, 'Nullable(Float64)'),
            NULL) AS number,
    if(JSONType(value) = 'String', JSONExtractString(value), value) AS text,
    newest AS version,
    latest.2 AS received_at,
    latest.3 AS at
FROM
(
    SELECT
        tenant,
        request_id,
        entry.1 AS key,
        rater,
        argMax((entry.2, received_at, at), version) AS latest,
        max(version) AS newest
    FROM
    (
        SELECT
            tenant,
            request_id,
            version,
            received_at,
            at,
            JSONExtractKeysAndValuesRaw(data) AS entries,
            if(JSONType(data, 'user_id') = 'String', JSONExtractString(data, 'user_id'), '') AS rater,
            maxIf(version, op = 'retract') OVER (PARTITION BY tenant, request_id) AS retracted_version
        FROM feedback_history
    )
    ARRAY JOIN entries AS entry
    WHERE version >= retracted_version AND key != 'user_id'
    GROUP BY tenant, request_id, key, rater
)
WHERE value != 'null'
COMMENT 'The latest value of each rater: one row for a request, key and rater.';

CREATE OR REPLACE VIEW feedback_agreement
(
    tenant LowCardinality(String)
        COMMENT 'Whose request it is.',
    request_id String
        COMMENT 'The request that the feedback is about.',
    key String
        COMMENT 'The top-level key of `data`.',
    raters UInt64
        COMMENT 'How many raters have a value; those without a user id count as one.',
    mean Nullable(Float64)
        COMMENT 'The mean of the values that are numbers, true as 1 and false as 0; NULL if none is.',
    min Nullable(Float64)
        COMMENT 'The least of them.',
    max Nullable(Float64)
        COMMENT 'The largest of them.',
    disagreement Float64
        COMMENT 'The share of the raters that do not give the most frequent value: 0 if all agree. Numbers are equal as numbers, other values as JSON text.',
    latest String
        COMMENT 'The value that was given last: JSON text.'
)
SQL SECURITY INVOKER
AS SELECT
    tenant,
    request_id,
    key,
    count() AS raters,
    avg(number) AS mean,
    min(number) AS min,
    max(number) AS max,
    -- Plus 0, so that -0 is 0.
    1 - arrayMax(mapValues(sumMap(map(ifNull(toString(number + 0), value), toUInt64(1))))) / count()
        AS disagreement,
    argMax(value, version) AS latest
FROM feedback_raters
GROUP BY tenant, request_id, key
COMMENT 'How far the raters of a request agree: one row for a request and key.';
