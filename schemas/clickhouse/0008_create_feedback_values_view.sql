-- Every key that anybody sent, as a row: what the typed columns of `feedback` are not about.
CREATE OR REPLACE VIEW feedback_values
(
    tenant LowCardinality(String)
        COMMENT 'Whose request it is.',
    request_id String
        COMMENT 'The request that the value belongs to.',
    last_received_at DateTime64(6, 'UTC')
        COMMENT 'When ingest took the latest event of the request, which need not be the one that set this key.',
    part LowCardinality(String)
        COMMENT 'data: the feedback; request: facts of the request itself.',
    key String
        COMMENT 'The top-level key.',
    type LowCardinality(String)
        COMMENT 'string, number, boolean, array or object. A null clears its key, so there is none.',
    json String
        COMMENT 'The value as JSON text, as it is in `data` or `request`.',
    number Nullable(Float64)
        COMMENT 'The value of a number; NULL for any other type, also for a text of digits.',
    text String
        COMMENT 'The characters of a string; the JSON text of any other type.'
)
SQL SECURITY INVOKER
AS SELECT
    tenant,
    request_id,
    last_received_at,
    part,
    entry.1 AS key,
    multiIf(JSONType(json) = 'String', 'string',
            JSONType(json) IN ('Int64', 'UInt64', 'Double'), 'number',
            JSONType(json) = 'Bool', 'boolean',
            JSONType(json) = 'Array', 'array',
            'object') AS type,
    entry.2 AS json,
    if(type = 'number', JSONExtract(json, 'Nullable(Float64)'), NULL) AS number,
    if(type = 'string', JSONExtractString(json), json) AS text
FROM
(
    -- Two reads, so that WHERE part = 'data' opens no prompts and answers.
    SELECT tenant, request_id, last_received_at, 'data' AS part, arrayJoin(JSONExtractKeysAndValuesRaw(data)) AS entry
    FROM feedback_state FINAL
    UNION ALL
    SELECT tenant, request_id, last_received_at, 'request' AS part, arrayJoin(JSONExtractKeysAndValuesRaw(request)) AS entry
    FROM feedback_state FINAL
)
COMMENT 'The latest value of each key of each request: one row for a request and key.';
