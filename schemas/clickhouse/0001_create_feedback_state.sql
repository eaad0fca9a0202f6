-- The latest state of each request, exactly as the merger wrote it, and the columns that people ask for.
--
-- The sink passes the bytes of the state topic through unread; nothing in them can make an insert fail:
-- `data` and `request` are JSON text, and every typed column is computed here and only here.
-- A value of another type than the column's becomes NULL or empty; a value that is no text counts as its
-- JSON text where text is asked for.
CREATE TABLE IF NOT EXISTS feedback_state
(
    -- The default stands for a row without a revision, which the constraint refuses; 0 is the first record's.
    revision UInt64 DEFAULT 18446744073709551615
        COMMENT 'Place in the state topic (generation << 48 | offset). The highest one of a request is its row.',
    is_deleted UInt8 DEFAULT 0
        COMMENT '1 hides the row: the request was erased.',
    tenant LowCardinality(String)
        COMMENT 'Whose row it is.',
    request_id String
        COMMENT 'The request that the feedback is about; opaque.'
        CODEC(ZSTD(1)),
    version UInt64
        COMMENT 'The newest event consumed for this row: generation of the events topic << 48 | offset.',
    first_received_at DateTime64(6, 'UTC')
        COMMENT 'When ingest took the earliest event of the row.'
        CODEC(Delta, ZSTD(1)),
    last_received_at DateTime64(6, 'UTC')
        COMMENT 'When ingest took the latest event of the row.'
        CODEC(Delta, ZSTD(1)),
    sources Array(LowCardinality(String))
        COMMENT 'The dialects that contributed, sorted by name.',
    data String DEFAULT '{}'
        COMMENT 'The feedback: JSON text of an object, the latest value of each top-level key.'
        CODEC(ZSTD(1)),
    request String DEFAULT '{}'
        COMMENT 'Facts of the request itself: JSON text of an object, the latest value of each key.'
        CODEC(ZSTD(1)),
    stored_at DateTime64(6, 'UTC') DEFAULT now64(6)
        COMMENT 'When ClickHouse stored this state of the row.'
        CODEC(Delta, ZSTD(1)),

    -- One pass over each JSON text, not one for each column.
    feedback_texts Tuple(rating String, comment String, message String, helpful String, user_id String, tags Array(String))
        ALIAS JSONExtract(data, 'Tuple(rating String, comment String, message String, helpful String, user_id String, tags Array(String))')
        COMMENT 'The values of `data` that the typed columns are made from, as texts.',
    request_texts Tuple(model String, provider String, latency_ms String, cost_usd String, started_at String, user_id String)
        ALIAS JSONExtract(request, 'Tuple(model String, provider String, latency_ms String, cost_usd String, started_at String, user_id String)')
        COMMENT 'The values of `request` that the typed columns are made from, as texts.',
    rating_text String
        ALIAS lower(trim(BOTH ' \t\n\r' FROM tupleElement(feedback_texts, 'rating')))
        COMMENT '`data.rating` as text, in lower case, without white space around it.',

    -- The one mapping of words and booleans to ratings.
    -- After a change: ALTER TABLE feedback_state MATERIALIZE COLUMN rating (then vote, then sentiment).
    rating Nullable(Float64)
        MATERIALIZED transform(
            rating_text,
            ['amazing', 'positive', 'negative', 'true', 'false'],
            [5.,        4.,         2.,         5.,     1.],
            -- JSONExtract reads every digit; toFloat64OrNull is inexact unless a setting says otherwise.
            if(match(rating_text, '^-?(0|[1-9][0-9]*)([.][0-9]+)?(e[+-]?[0-9]+)?$')
               AND isFinite(JSONExtract(rating_text, 'Float64')),
               JSONExtract(rating_text, 'Nullable(Float64)'), NULL))
        COMMENT '`data.rating`: a finite number, also as text; amazing 5, positive 4, negative 2, true 5, false 1; else NULL.',
    vote LowCardinality(String)
        MATERIALIZED if(isNull(rating) OR match(rating_text, '^([-0-9]|true$|false$)'), '', rating_text)
        COMMENT 'The word of `data.rating` (amazing, positive or negative), or empty.',
    sentiment LowCardinality(String)
        MATERIALIZED multiIf(
            isNull(rating) OR rating < 1 OR rating > 5, '',
            rating >= 4, 'positive',
            rating <= 2, 'negative',
            'neutral')
        COMMENT 'positive, negative or neutral, from a rating on the scale of 1 to 5; empty for any other.',
    comment String
        MATERIALIZED if(tupleElement(feedback_texts, 'comment') != '',
                        tupleElement(feedback_texts, 'comment'), tupleElement(feedback_texts, 'message'))
        COMMENT '`data.comment`, else `data.message`.'
        CODEC(ZSTD(1)),
    helpful Nullable(Bool)
        MATERIALIZED transform(lower(tupleElement(feedback_texts, 'helpful')), ['true', 'false'], [true, false], NULL)
        COMMENT '`data.helpful`: true or false, else NULL.',
    user_id String
        MATERIALIZED if(tupleElement(feedback_texts, 'user_id') != '',
                        tupleElement(feedback_texts, 'user_id'), tupleElement(request_texts, 'user_id'))
        COMMENT 'Who gave the feedback: `data.user_id`, else `request.user_id`.'
        CODEC(ZSTD(1)),
    tags Array(String)
        MATERIALIZED arrayFilter(tag -> tag != '', tupleElement(feedback_texts, 'tags'))
        COMMENT '`data.tags`, a list; empty items left out.'
        CODEC(ZSTD(1)),
    model LowCardinality(String)
        MATERIALIZED tupleElement(request_texts, 'model')
        COMMENT '`request.model`, or empty.',
    provider LowCardinality(String)
        MATERIALIZED tupleElement(request_texts, 'provider')
        COMMENT '`request.provider`, or empty.',
    latency_ms Nullable(Float64)
        MATERIALIZED if(match(lower(tupleElement(request_texts, 'latency_ms')),
                              '^-?(0|[1-9][0-9]*)([.][0-9]+)?(e[+-]?[0-9]+)?$')
                        AND isFinite(JSONExtract(tupleElement(request_texts, 'latency_ms'), 'Float64')),
                        JSONExtract(tupleElement(request_texts, 'latency_ms'), 'Nullable(Float64)'), NULL)
        COMMENT '`request.latency_ms`: a finite number, also as text; milliseconds.',
    cost_usd Nullable(Float64)
        MATERIALIZED if(match(lower(tupleElement(request_texts, 'cost_usd')),
                              '^-?(0|[1-9][0-9]*)([.][0-9]+)?(e[+-]?[0-9]+)?$')
                        AND isFinite(JSONExtract(tupleElement(request_texts, 'cost_usd'), 'Float64')),
                        JSONExtract(tupleElement(request_texts, 'cost_usd'), 'Nullable(Float64)'), NULL)
        COMMENT '`request.cost_usd`: a finite number, also as text; US dollars.',
    started_at Nullable(DateTime64(6, 'UTC'))
        MATERIALIZED multiIf(
            match(upper(tupleElement(request_texts, 'started_at')),
                  '^(19[7-9]|2[01][0-9])[0-9]-[01][0-9]-[0-3][0-9]([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?$'),
            parseDateTime64BestEffortOrNull(upper(tupleElement(request_texts, 'started_at')), 6, 'UTC'),
            match(tupleElement(request_texts, 'started_at'), '^(0|[1-9][0-9]{0,12})([.][0-9]+)?$'),
            -- Clamped, since ClickHouse may compute this for every row, and must not fail on any.
            fromUnixTimestamp64Micro(
                toInt64(round(
                    greatest(0., least(1e13, JSONExtract(tupleElement(request_texts, 'started_at'), 'Float64')))
                    * if(JSONExtract(tupleElement(request_texts, 'started_at'), 'Float64') < 1e11, 1e6, 1e3))),
                'UTC'),
            NULL)
        COMMENT '`request.started_at`: RFC 3339 (UTC where no zone is given), or Unix time in seconds or, from 1e11 on, milliseconds.',

    CONSTRAINT identified CHECK tenant != '' AND request_id != '' AND revision < 18446744073709551615,

    -- The newest requests of a tenant without FINAL: take ids from here, then their rows with FINAL.
    PROJECTION newest
    (
        SELECT tenant, last_received_at, revision, request_id
        ORDER BY tenant, last_received_at
    ),
    -- Words of comments, whatever their case: WHERE hasToken(lowerUTF8(comment), 'word').
    INDEX comment_words lowerUTF8(comment) TYPE text(tokenizer = 'splitByNonAlpha')
)
ENGINE = ReplacingMergeTree(revision, is_deleted)
ORDER BY (tenant, request_id)
SETTINGS
    -- Lookups of one request read 1024 rows, not 8192: 5 times faster, and nothing else got slower.
    index_granularity = 1024,
    deduplicate_merge_projection_mode = 'rebuild',
    -- So that DELETE works, which a projection forbids otherwise.
    lightweight_mutation_projection_mode = 'rebuild',
    -- The sink forgets a batch once ClickHouse has it, so ClickHouse must have it on disk.
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1
COMMENT 'Latest state of each request. Ask the view `feedback`, or write FINAL.';
