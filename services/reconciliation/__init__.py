"""Does ClickHouse have what the log has?  Shared by `afterword verify` and by a chore of the sink.

Pure: `events` (what a record must have become), `ranges`, `lookups` (what is asked, and what the answers
excuse), `mending`.  `continuous` walks through the log at a low rate, behind what the sink has stored.
"""
