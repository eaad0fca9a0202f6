-- `started_at` in every form that clients print: offsets with and without a colon, a comma before the fraction,
-- second 60, 24:00, Unix time also in microseconds and nanoseconds.  `schemas/instants.py` reads the same forms.
-- From 1970 to 2099 and no other: the types of days and seconds, into which times are rounded, end soon after.
ALTER TABLE feedback_state
    MODIFY COLUMN started_at Nullable(DateTime64(6, 'UTC'))
        MATERIALIZED fromUnixTimestamp64Micro(
            -- NULL below and above the range; each argument is named once, since each insert analyses all of this.
            nullIf(least(nullIf(greatest(
                arrayElement(arrayMap(
                    text -> multiIf(
                        match(text, '^(1969|19[7-9][0-9]|20[0-9][0-9]|2100)-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([T ](([01][0-9]|2[0-3])( ?(Z|UTC)|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?|(([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)([.,][0-9]+)?)?|24:00(:00([.,]0+)?)?)( ?(Z|UTC|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?))?))?$'),
                        toUnixTimestamp64Micro(parseDateTime64BestEffortOrNull(
                            -- An offset right after the hour would be read as something else.
                            if(substring(text, 14, 1) = '-',
                               concat(substring(text, 1, 13), ':00', substring(text, 14)),
                               replaceAll(text, ',', '.')),
                            6, 'UTC')),
                        match(text, '^(0|[1-9][0-9]{0,18})$'),
                        intDiv(toInt64OrNull(text) * multiIf(length(text) < 12, 1000000, length(text) < 15, 1000, 1),
                               if(length(text) < 18, 1, 1000)),
                        match(text, '^(0|[1-9][0-9]*)([.][0-9]+(E[+-]?[0-9]+)?|E[+-]?[0-9]+)$'),
                        -- Clamped, since ClickHouse may compute this for every row, and must not fail on any.
                        toInt64(round(least(1e18, multiIf(
                            JSONExtract(text, 'Nullable(Float64)') < 1e11, JSONExtract(text, 'Nullable(Float64)') * 1e6,
                            JSONExtract(text, 'Nullable(Float64)') < 1e14, JSONExtract(text, 'Nullable(Float64)') * 1e3,
                            JSONExtract(text, 'Nullable(Float64)') < 1e17, JSONExtract(text, 'Nullable(Float64)'),
                            JSONExtract(text, 'Nullable(Float64)') / 1e3)))),
                        NULL),
                    [upper(tupleElement(request_texts, 'started_at'))]), 1),
                -1), -1), 4102444800000000), 4102444800000000),
            'UTC')
        COMMENT '`request.started_at`, from 1970 to 2099, else NULL: RFC 3339 or ISO 8601 (UTC where no zone is given), or Unix time: below 1e11 in seconds, below 1e14 in milliseconds, below 1e17 in microseconds, else in nanoseconds.',
    ADD COLUMN IF NOT EXISTS unread Array(String)
        ALIAS arrayFilter(key -> key != '', [
            if(isNull(started_at) AND tupleElement(request_texts, 'started_at') != '', 'request.started_at', ''),
            if(isNull(latency_ms) AND tupleElement(request_texts, 'latency_ms') != '', 'request.latency_ms', ''),
            if(isNull(cost_usd) AND tupleElement(request_texts, 'cost_usd') != '', 'request.cost_usd', '')])
        COMMENT 'Keys whose value cannot be read, so that their column is NULL: request.started_at, request.latency_ms, request.cost_usd.'
        AFTER user_hashes;

-- Stored rows are read again in the background, part by part.  The projection has the column, too, and is not made
-- again by itself.
ALTER TABLE feedback_state
    MATERIALIZE COLUMN started_at, CLEAR PROJECTION by_time, MATERIALIZE PROJECTION by_time
    SETTINGS mutations_sync = 0;

-- The view as before, with one more column.
CREATE OR REPLACE VIEW feedback
(
    tenant LowCardinality(String)
        COMMENT 'Whose request it is.',
    request_id String
        COMMENT 'The request that the feedback is about; opaque.',
    version UInt64
        COMMENT 'The newest event consumed for this row: generation of the events topic << 48 | offset.',
    first_received_at DateTime64(6, 'UTC')
        COMMENT 'When ingest took the earliest event of the row.',
    last_received_at DateTime64(6, 'UTC')
        COMMENT 'When ingest took the latest event of the row.',
    sources Array(LowCardinality(String))
        COMMENT 'The dialects that contributed, sorted by name.',
    rating Nullable(Float64)
        COMMENT '`data.rating`: a finite number, also as text; amazing 5, positive 4, negative 2, true 5, false 1; else NULL.',
    vote LowCardinality(String)
        COMMENT 'The word of `data.rating` (amazing, positive or negative), or empty.',
    sentiment LowCardinality(String)
        COMMENT 'positive, negative or neutral, from a rating on the scale of 1 to 5; empty for any other.',
    comment String
        COMMENT '`data.comment`, else `data.message`.',
    helpful Nullable(Bool)
        COMMENT '`data.helpful`: true or false, else NULL.',
    user_id String
        COMMENT 'Who gave the feedback: `data.user_id`, else `request.user_id`.',
    tags Array(String)
        COMMENT '`data.tags`, a list; empty items left out.',
    model LowCardinality(String)
        COMMENT '`request.model`, or empty.',
    provider LowCardinality(String)
        COMMENT '`request.provider`, or empty.',
    latency_ms Nullable(Float64)
        COMMENT '`request.latency_ms`: a finite number, also as text; milliseconds.',
    cost_usd Nullable(Float64)
        COMMENT '`request.cost_usd`: a finite number, also as text; US dollars.',
    started_at Nullable(DateTime64(6, 'UTC'))
        COMMENT '`request.started_at`, from 1970 to 2099, else NULL: RFC 3339 or ISO 8601 (UTC where no zone is given), or Unix time: below 1e11 in seconds, below 1e14 in milliseconds, below 1e17 in microseconds, else in nanoseconds.',
    data String
        COMMENT 'The feedback: JSON text of an object, the latest value of each top-level key.',
    request String
        COMMENT 'Facts of the request itself: JSON text of an object, the latest value of each key.',
    stored_at DateTime64(6, 'UTC')
        COMMENT 'When ClickHouse stored this state of the row.',
    unread Array(String)
        COMMENT 'Keys whose value cannot be read, so that their column is NULL: request.started_at, request.latency_ms, request.cost_usd.'
)
SQL SECURITY INVOKER
AS SELECT
    tenant,
    request_id,
    version,
    first_received_at,
    last_received_at,
    sources,
    rating,
    vote,
    sentiment,
    comment,
    helpful,
    user_id,
    tags,
    model,
    provider,
    latency_ms,
    cost_usd,
    started_at,
    data,
    request,
    stored_at,
    unread
FROM feedback_state FINAL
COMMENT 'The latest state of each request: one row each, erased ones left out.';
