-- What analysts use: one current row a request, every typed column by name, and no FINAL to remember.
CREATE OR REPLACE VIEW feedback AS
SELECT
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
FROM feedback_state FINAL;

ALTER TABLE feedback MODIFY COMMENT 'The latest state of each request: one row each, erased ones left out.';
