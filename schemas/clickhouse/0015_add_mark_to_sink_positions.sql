-- What identifies the log just before a position: after a log was cut short, the same number means other records.
ALTER TABLE sink_positions
    ADD COLUMN IF NOT EXISTS mark String DEFAULT ''
    COMMENT 'Offset and hash of a record below the position, or empty: tells whether the log is still the same.';
