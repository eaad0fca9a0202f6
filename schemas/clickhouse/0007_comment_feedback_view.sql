-- The view as before, now with a comment on each column.
-- Whoever reads it needs the right to read the table, and sees the rows that a row policy leaves them.
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
        COMMENT '`request.started_at`: RFC 3339 (UTC where no zone is given), or Unix time in seconds or, from 1e11 on, milliseconds.',
    data String
        COMMENT 'The feedback: JSON text of an object, the latest value of each top-level key.',
    request String
        COMMENT 'Facts of the request itself: JSON text of an object, the latest value of each key.',
    stored_at DateTime64(6, 'UTC')
        COMMENT 'When ClickHouse stored this state of the row.'
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
    stored_at
FROM feedback_state FINAL
COMMENT 'The latest state of each request: one row each, erased ones left out.';
