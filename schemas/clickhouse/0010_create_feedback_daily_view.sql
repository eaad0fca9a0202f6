-- Counts that can be added up to any longer time or larger group; averages are sums divided by counts.
-- They are computed when asked for, from the latest state: a vote that changes leaves its old count at once.
CREATE OR REPLACE VIEW feedback_daily
(
    tenant LowCardinality(String)
        COMMENT 'Whose requests they are.',
    day Date
        COMMENT 'The day (UTC) on which the requests started; where that is not known, of their first event.',
    model LowCardinality(String)
        COMMENT 'The model, or empty.',
    provider LowCardinality(String)
        COMMENT 'The provider, or empty.',
    requests UInt64
        COMMENT 'Requests, with or without feedback.',
    with_feedback UInt64
        COMMENT 'Requests about which somebody said something.',
    positive UInt64
        COMMENT 'Requests whose latest rating is 4 to 5.',
    neutral UInt64
        COMMENT 'Requests whose latest rating is between 2 and 4.',
    negative UInt64
        COMMENT 'Requests whose latest rating is 1 to 2.',
    rated UInt64
        COMMENT 'Requests with a rating, on any scale.',
    rating_sum Float64
        COMMENT 'The sum of these ratings: divided by `rated`, their average.',
    comments UInt64
        COMMENT 'Requests with a comment.',
    cost_usd Float64
        COMMENT 'What the requests cost, as far as it is known; US dollars.'
)
SQL SECURITY INVOKER
AS SELECT
    tenant,
    toDate(ifNull(started_at, first_received_at), 'UTC') AS day,
    model,
    provider,
    count() AS requests,
    countIf(data != '{}') AS with_feedback,
    countIf(sentiment = 'positive') AS positive,
    countIf(sentiment = 'neutral') AS neutral,
    countIf(sentiment = 'negative') AS negative,
    count(rating) AS rated,
    ifNull(sum(rating), 0) AS rating_sum,
    countIf(comment != '') AS comments,
    ifNull(sum(feedback_state.cost_usd), 0) AS cost_usd
FROM feedback_state FINAL
GROUP BY tenant, day, model, provider
COMMENT 'Counts per tenant, day, model and provider: exact whenever asked for, also after votes changed.';
