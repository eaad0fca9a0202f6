-- What people decided about a dead letter, beside `replayed_at`.
-- The sink never writes these columns, and its rows are older than any mark: reading the topic again keeps them.
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS dropped_at Nullable(DateTime64(6, 'UTC'))
        COMMENT 'When somebody decided that nobody wants it, if somebody did; its bytes stay.'
        AFTER replayed_at,
    ADD COLUMN IF NOT EXISTS correction Nullable(String)
        COMMENT 'The body to be replayed instead of `raw`. Written before it is sent, and never changed.'
        CODEC(ZSTD(1))
        AFTER dropped_at;
